"""Simple corruptions of inputs, to measure robustness.

They are among those of Hendrycks & Dietterich, Benchmarking Neural Network Robustness, ICLR 2019, at one severity, and
work for any input shape, not only images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from overwinter.errors import ConfigError, nearest
from overwinter.inputs import Array, Inputs

_NOISE = 0.5  # of the inputs' standard deviation
_CONTRAST = 0.5  # of a sample's distance from its mean
_MISSING = 0.2  # of a sample's values


def can_corrupt(inputs: Inputs) -> bool:
    """Return whether inputs can be corrupted: they are one array of floats, with more than a number per sample."""
    return not isinstance(inputs, Mapping) and inputs.dtype.kind == "f" and inputs.ndim > 1


def corrupt(name: str, inputs: Array, *, seed: int) -> Array:
    """Return corrupted copies of a batch of model inputs.

    Args:
        name: `noise` adds half the batch's deviation; `contrast` halves each sample's distance from its own mean;
            `blur` averages 3 neighbours along the last axis, and along the one before in images; `missing` puts the
            mean in place of a fifth of the values.
        inputs: (n, ...), floating point.
        seed: random seed.

    Raises:
        ConfigError: there is no such corruption.
    """
    if name not in CORRUPTIONS:
        known = ", ".join(CORRUPTIONS)
        raise ConfigError(
            f"evaluate.corruptions names {name!r}, which is unknown. Known: {known}.{nearest(name, CORRUPTIONS)}"
        )
    corrupted = CORRUPTIONS[name](inputs, np.random.default_rng(seed))
    return np.ascontiguousarray(corrupted, dtype=inputs.dtype)


def _blur(inputs: Array, _: np.random.Generator) -> Array:
    axes = (-2, -1) if inputs.ndim >= 4 else (-1,)
    for axis in axes:
        inputs = _averaged(inputs, axis)
    return inputs


def _averaged(inputs: Array, axis: int) -> Array:
    """Average each value with its two neighbours; the edges are repeated."""
    moved = np.moveaxis(inputs, axis, -1)
    padded = np.concatenate([moved[..., :1], moved, moved[..., -1:]], axis=-1)
    return np.moveaxis((padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3, -1, axis)


def _contrast(inputs: Array, _: np.random.Generator) -> Array:
    mean: Array = inputs.mean(axis=tuple(range(1, inputs.ndim)), keepdims=True)
    return mean + (inputs - mean) * _CONTRAST


def _missing(inputs: Array, generator: np.random.Generator) -> Array:
    return np.where(generator.random(inputs.shape) < _MISSING, inputs.mean(), inputs)


def _noise(inputs: Array, generator: np.random.Generator) -> Array:
    noise: Array = generator.standard_normal(inputs.shape) * (_NOISE * inputs.std())
    return inputs + noise


CORRUPTIONS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "blur": _blur,
    "contrast": _contrast,
    "missing": _missing,
    "noise": _noise,
}
