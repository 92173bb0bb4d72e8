"""Conversion of raw input to model input, as recorded in a bundle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import ConfigError

FORMULA = "(raw - mean) / std"
_DEFAULTS = (("mean", 0.0), ("std", 1.0))


def as_json(preprocessing: Any) -> dict[str, Any]:
    """Return what a data source declares as a bundle keeps it: JSON, with arrays and their numbers as Python's own.

    Raises:
        ConfigError: it is no mapping, or JSON has no such value.
    """
    if not isinstance(preprocessing, Mapping):
        raise ConfigError(
            f"data: `preprocessing` is a {type(preprocessing).__name__}. It must be a mapping, such as "
            '{"mean": 0.5, "std": 0.25}, or {}.'
        )
    try:
        kept: dict[str, Any] = json.loads(json.dumps(dict(preprocessing), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data: `preprocessing` is kept in the bundle as JSON, which it is not: {error}. "
            "Give numbers, texts, lists and mappings."
        ) from None
    return kept


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's and torch's arrays and numbers
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def check_preprocessing(preprocessing: Mapping[str, Any], input_shape: Sequence[int] | None = None) -> None:
    """Check that `prepare` can apply what a data source declares.

    Args:
        preprocessing: what it declares.
        input_shape: of one model input; None: whether there is a mean and std for each channel is not checked.

    Raises:
        ConfigError: the formula is unknown, a mean or std is not a number (or one per channel), a std is zero, or the
            shape, range or dtype of the raw input is not valid.
    """
    formula = preprocessing.get("formula", FORMULA)
    if formula != FORMULA:
        raise ConfigError(
            f"preprocessing.formula={formula!r} cannot be applied by a bundle, which supports {FORMULA!r}.\n"
            "Declare mean and std in your data source's `preprocessing`, and do the rest inside the model."
        )
    for key, default in _DEFAULTS:
        value = _numbers(key, preprocessing.get(key, default))
        if key == "std" and not (value > 0).all():
            raise ConfigError(f"preprocessing.std={value.tolist()} must be above zero.")
        if input_shape is not None:
            _per_channel(value, key, input_shape)
    raw = preprocessing.get("raw", {})
    if isinstance(raw, Mapping) and not isinstance(raw.get("dtype", ""), str):
        raise ConfigError(f"preprocessing.raw.dtype={raw['dtype']!r} must be the name of a type, such as 'uint8'.")
    if not isinstance(raw, Mapping) or not _is_shape(raw.get("shape")) or not _is_range(raw.get("range")):
        raise ConfigError(f"preprocessing.raw={raw!r} must be a mapping, with a `shape` and a `range` [low, high].")


def prepare(raw: Any, preprocessing: Mapping[str, Any], input_shape: Sequence[int]) -> NDArray[Any]:
    """Convert raw samples to model input.

    Args:
        raw: one sample or a batch, as nested lists or an array, in the declared raw shape or in ``input_shape``.
        preprocessing: ``mean`` and ``std``, each a number or one per channel (0 and 1 if absent), and
            optionally ``raw: {"shape", "range"}``, which is then checked.
        input_shape: shape of one model input, without the batch.

    Returns:
        float32 (batch, *input_shape).

    Raises:
        ConfigError: the shape is wrong, a value is out of range, or a value is not a number.
    """
    check_preprocessing(preprocessing)
    samples = _samples(raw, preprocessing, input_shape)
    mean, std = (_per_channel(preprocessing.get(key, default), key, input_shape) for key, default in _DEFAULTS)
    prepared: NDArray[Any] = ((samples - mean) / std).astype(np.float32)
    return prepared


def _samples(raw: Any, preprocessing: Mapping[str, Any], input_shape: Sequence[int]) -> NDArray[Any]:
    try:
        samples = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The input is not an array of numbers: {error}.") from None
    declared = preprocessing.get("raw", {})
    shapes = [tuple(shape) for shape in (declared.get("shape"), input_shape) if shape is not None]
    for shape in shapes:
        if samples.shape == shape or samples.shape[1:] == shape:
            if math.prod(shape) != math.prod(input_shape):
                raise ConfigError(
                    f"preprocessing.raw.shape={list(shape)} has not as many values as the model's "
                    f"{list(input_shape)}: send model input instead."
                )
            _check_range(samples, declared.get("range"))
            return samples.reshape(-1, *input_shape)
    expected = " or ".join(str(list(shape)) for shape in dict.fromkeys(shapes))
    raise ConfigError(
        f"The input has the shape {list(samples.shape)}; one sample has {expected}, a batch one more axis."
    )


def _check_range(samples: NDArray[Any], declared: Sequence[float] | None) -> None:
    if not np.isfinite(samples).all():
        raise ConfigError("The input holds NaN or infinite values.")
    if declared is not None and samples.size and not declared[0] <= samples.min() <= samples.max() <= declared[1]:
        raise ConfigError(
            f"The input ranges from {samples.min():g} to {samples.max():g}; raw values are between "
            f"{declared[0]:g} and {declared[1]:g}."
        )


def _is_shape(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(type(side) is int and side >= 0 for side in value))


def _is_range(value: Any) -> bool:
    return value is None or (
        isinstance(value, list | tuple) and len(value) == 2 and all(type(end) in (int, float) for end in value)
    )


def _per_channel(value: Any, key: str, input_shape: Sequence[int]) -> NDArray[Any]:
    numbers = _numbers(key, value)
    if numbers.ndim == 0:
        return numbers
    channels = input_shape[0] if len(input_shape) else 1
    if len(numbers) != channels:
        raise ConfigError(f"preprocessing.{key} has {len(numbers)} values for {channels} channels.")
    return numbers.reshape(-1, *[1] * (len(input_shape) - 1))


def _numbers(key: str, value: Any) -> NDArray[Any]:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if numbers.ndim > 1 or not np.isfinite(numbers).all():
        raise ConfigError(f"preprocessing.{key}={value!r} must be a number, or one per channel.")
    return numbers
