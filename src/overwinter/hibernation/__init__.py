"""Hibernation: a model put to sleep in a bundle, and woken from it. Waking an ONNX bundle imports no torch.

- `hibernate` asks the model its canary questions and writes the bundle (`overwinter.serving`); `protect` signs and
  encrypts it.
- `wake` verifies every byte of a bundle, loads it, asks the canary again and refuses to serve if an answer
  differs; the `AwakeModel` it returns answers model inputs (``run``) and raw ones (``answer``).
- `measure_draws` meters a served model on each rung and at its wakes, which a claim of joules saved rests on.
- `measure_wake` times wakes in fresh processes, from their start to their first right answer.
- A language model's bundle has a tokenizer beside it, and wakes as a `LanguageSession`: tokens in, logits of the
  next token out, keys and values kept. Its canary are the `canary_tokens` of some text.
- `data_digest` and `code_version` are what a bundle's lineage says beyond what its stage was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.doors import lazily

if TYPE_CHECKING:
    from overwinter.hibernation.draws import Draws, Served, measure_draws
    from overwinter.hibernation.language import LanguageSession, canary_tokens
    from overwinter.hibernation.measuring import WakeTimes, measure_wake
    from overwinter.hibernation.origin import code_version, data_digest
    from overwinter.hibernation.protecting import protect
    from overwinter.hibernation.sleeping import hibernate
    from overwinter.hibernation.waking import Answer, AwakeModel, wake

__all__ = [
    "Answer",
    "AwakeModel",
    "Draws",
    "LanguageSession",
    "Served",
    "WakeTimes",
    "canary_tokens",
    "code_version",
    "data_digest",
    "hibernate",
    "measure_draws",
    "measure_wake",
    "protect",
    "wake",
]

# Loaded when first used: a worker that wakes a model has no time for what puts one to sleep.
_HOMES = {
    "Answer": "waking",
    "AwakeModel": "waking",
    "Draws": "draws",
    "LanguageSession": "language",
    "Served": "draws",
    "WakeTimes": "measuring",
    "canary_tokens": "language",
    "code_version": "origin",
    "data_digest": "origin",
    "hibernate": "sleeping",
    "measure_draws": "draws",
    "measure_wake": "measuring",
    "protect": "protecting",
    "wake": "waking",
}

__getattr__ = lazily(__name__, _HOMES)
