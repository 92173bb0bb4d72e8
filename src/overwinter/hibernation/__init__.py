"""Hibernation: a model put to sleep in a bundle, and woken from it. Waking an ONNX bundle imports no torch.

- `hibernate` asks the model its canary questions and writes the bundle (`overwinter.serving`).
- `wake` verifies every byte of a bundle, loads it, asks the canary again and refuses to serve if an answer
  differs; the `AwakeModel` it returns answers model inputs (``run``) and raw ones (``answer``).
- `measure_wake` times wakes in fresh processes, from their start to their first right answer.
"""

from overwinter.hibernation.measuring import WakeTimes, measure_wake
from overwinter.hibernation.sleeping import hibernate
from overwinter.hibernation.waking import Answer, AwakeModel, wake

__all__ = ["Answer", "AwakeModel", "WakeTimes", "hibernate", "measure_wake", "wake"]
