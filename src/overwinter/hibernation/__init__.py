"""Hibernation: a model put to sleep in a bundle, and woken from it. Waking an ONNX bundle imports no torch.

- `hibernate` asks the model its canary questions and writes the bundle (`overwinter.serving`); `protect` signs and
  encrypts it.
- `wake` verifies every byte of a bundle, loads it, asks the canary again and refuses to serve if an answer
  differs; the `AwakeModel` it returns answers model inputs (``run``) and raw ones (``answer``).
- `measure_wake` times wakes in fresh processes, from their start to their first right answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.doors import lazily

if TYPE_CHECKING:
    from overwinter.hibernation.measuring import WakeTimes, measure_wake
    from overwinter.hibernation.protecting import protect
    from overwinter.hibernation.sleeping import hibernate
    from overwinter.hibernation.waking import Answer, AwakeModel, wake

__all__ = ["Answer", "AwakeModel", "WakeTimes", "hibernate", "measure_wake", "protect", "wake"]

# Loaded when first used: a worker that wakes a model has no time for what puts one to sleep.
_HOMES = {
    "Answer": "waking",
    "AwakeModel": "waking",
    "WakeTimes": "measuring",
    "hibernate": "sleeping",
    "measure_wake": "measuring",
    "protect": "protecting",
    "wake": "waking",
}

__getattr__ = lazily(__name__, _HOMES)
