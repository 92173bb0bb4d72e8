"""Quantization-aware training: the model learns with the grids on which it will be served.

`make_aware` puts fake-quantizers into a model and returns an `Awareness`: a `StepHook` for `fit`, and
afterwards the grids. Weights of Linear and Conv2d are fake-quantized by a parametrization, and the layers'
inputs by a module before the layer; both are part of the model's state, so checkpoints hold them. Three
phases: at first the model trains in floating point while the ranges of activations are watched, then it
trains fake-quantized, and at last scales and batch statistics are frozen. Only what is frozen can be the
result.

- `rounding`: the straight-through estimator, relaxed quantization and its straight-through form.
- `quantizers`: the fake-quantizers, with observed or learned scales.
- `awareness`: which layers, when, and what is left in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.training.qat.awareness import Awareness, make_aware

__all__ = [
    "Awareness",
    "make_aware",
]

# Loaded when first used: settings are read without torch.
_HOMES = {
    "Awareness": "awareness",
    "make_aware": "awareness",
}

__getattr__ = lazily(__name__, _HOMES)
