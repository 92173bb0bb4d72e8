"""Preprocessing of numbers: ``(raw - mean) / std``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overwinter.data.preprocessing.interface import above_zero, numbers
from overwinter.errors import ConfigError

FORMULA = "(raw - mean) / std"
_DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}  # of the protocol
_WHOLE = "ui"  # kinds of numpy
_LOST = 1e-4  # share that single precision may lose on the way


class Normalize:
    """``(raw - mean) / std`` of arrays.

    Args:
        mean: a number, or one per channel, which is the first axis of a model input.
        std: likewise, above zero.
        dtype: of a raw sample, such as ``uint8``.
        shape: of a raw sample; None: as a model input's, or any.
        range: lowest and highest raw value; None: any.
        input_shape: of one model input, without the batch; None: as a raw sample's.

    Raises:
        ConfigError: an argument is wrong.
    """

    kind = "normalize"
    extras = None

    def __init__(
        self,
        mean: Any = 0.0,
        std: Any = 1.0,
        *,
        dtype: str = "float32",
        shape: Sequence[int] | None = None,
        range: Sequence[float] | None = None,  # noqa: A002 -- the word of the configuration
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self._mean, self._std = numbers("mean", mean), above_zero("std", std)
        raw = {"dtype": dtype, "shape": shape, "range": range}
        if not isinstance(dtype, str):
            raise ConfigError(f"preprocessing.raw.dtype={dtype!r} must be the name of a type, such as 'uint8'.")
        _check_dtype(dtype)
        if not _is_shape(shape) or not _is_range(range) or not _is_shape(input_shape):
            raise ConfigError(f"preprocessing.raw={raw!r} must be a mapping, with a `shape` and a `range` [low, high].")
        self._dtype, self._range = dtype, range
        self._shape = None if shape is None else tuple(shape)
        self._input_shape = self._shape if input_shape is None else tuple(input_shape)
        if self._input_shape is not None:
            for key, value in (("mean", self._mean), ("std", self._std)):
                _per_channel(value, key, self._input_shape)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Create it from JSON; keys that it does not know are a source's notes.

        Raises:
            ConfigError: the formula is another, or a value is wrong.
        """
        formula = content.get("formula", FORMULA)
        if formula != FORMULA:
            raise ConfigError(
                f"preprocessing.formula={formula!r} cannot be applied by a bundle, which supports {FORMULA!r}.\n"
                "Declare mean and std in your data source's `preprocessing`, and do the rest inside the model."
            )
        raw, given = content.get("raw", {}), content.get("input", {})
        if not isinstance(raw, Mapping) or not isinstance(given, Mapping):
            raise ConfigError(f"preprocessing.raw={raw!r} must be a mapping, with a `shape` and a `range` [low, high].")
        return cls(
            content.get("mean", 0.0),
            content.get("std", 1.0),
            dtype=raw.get("dtype", "float32"),
            shape=raw.get("shape"),
            range=raw.get("range"),
            input_shape=given.get("shape"),
        )

    @property
    def raw_shapes(self) -> list[tuple[int, ...]]:
        """Shapes that a raw sample may have: the declared one, and a model input's. Empty: any."""
        return list(dict.fromkeys(shape for shape in (self._shape, self._input_shape) if shape is not None))

    def to_json(self) -> dict[str, Any]:
        """Return what a bundle keeps."""
        raw = {"dtype": self._dtype, "shape": _listed(self._shape), "range": _listed(self._range)}
        return {
            "kind": self.kind,
            "formula": FORMULA,
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
            "raw": {key: value for key, value in raw.items() if value is not None},
            **({} if self._input_shape is None else {"input": {"shape": list(self._input_shape)}}),
        }

    def describe_raw(self) -> list[dict[str, Any]]:
        """Return the raw input's name, datatype and shape; empty without a declared shape."""
        if self._shape is None:
            return []
        datatype = _DATATYPES.get(self._dtype, self._dtype.upper())
        return [{"name": "raw", "datatype": datatype, "shape": [-1, *self._shape]}]

    def prepare(self, raw: Any) -> NDArray[np.float32]:
        """Return model inputs (n, ...), float32.

        Args:
            raw: one sample or a batch, as nested lists or an array, in the raw shape or in the model input's.

        Raises:
            ConfigError: the shape is wrong, a value is out of range, or a value is not a number.
        """
        samples = self._samples(raw)
        shape = samples.shape[1:]
        mean, std = (_per_channel(value, key, shape) for key, value in (("mean", self._mean), ("std", self._std)))
        prepared: NDArray[np.float32] = ((samples - mean) / std).astype(np.float32)
        return prepared

    def undo(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the raw samples (n, ...) of model inputs: whole numbers if the raw ones are, else float64.

        Raises:
            ConfigError: mean and std do not fit the inputs' channels, or these cannot have been made of raw samples:
                they were out of range, or no whole numbers.
        """
        raw = self._undone(inputs)
        again = self.prepare(raw)
        if again.shape != inputs.shape or np.abs(again - inputs).sum() > _LOST * max(np.abs(inputs).sum(), 1.0):
            raise ConfigError(
                f"preprocessing says (raw - mean) / std of {self._dtype} values, and model inputs between "
                f"{inputs.min():.4g} and {inputs.max():.4g} cannot come from such: their mean and std, the type or the "
                "scale is another."
            )
        return raw

    def _undone(self, inputs: NDArray[Any]) -> NDArray[Any]:
        shape = inputs.shape[1:]
        mean, std = (_per_channel(value, key, shape) for key, value in (("mean", self._mean), ("std", self._std)))
        raw: NDArray[np.float64] = inputs.astype(np.float64) * std + mean
        kind = np.dtype(self._dtype)  # checked by the constructor
        if kind.kind in _WHOLE:
            limits = np.iinfo(kind)
            raw = raw.round().clip(limits.min, limits.max)
        elif self._range is not None:
            low, high = self._range
            ends = raw.clip(low, high)  # rounding may have gone beyond
            raw = np.where(np.abs(raw - ends) <= _LOST * (high - low), ends, raw)
        typed: NDArray[Any] = raw.astype(np.float64 if kind.kind == "f" else kind)
        fits = self._shape is not None and math.prod(self._shape) == math.prod(shape)
        return typed.reshape(-1, *self._shape) if fits and self._shape is not None else typed

    def _samples(self, raw: Any) -> NDArray[np.float64]:
        try:
            samples = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The input is not an array of numbers: {error}.") from None
        if not self.raw_shapes and samples.ndim:
            _check_range(samples, self._range)
            return samples
        for shape in self.raw_shapes:
            if samples.shape == shape or samples.shape[1:] == shape:
                return self._as_input(samples, shape)
        expected = " or ".join(str(list(shape)) for shape in self.raw_shapes)
        raise ConfigError(
            f"The input has the shape {list(samples.shape)}; one sample has {expected}, a batch one more axis."
        )

    def _as_input(self, samples: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        target = shape if self._input_shape is None else self._input_shape
        if math.prod(shape) != math.prod(target):
            raise ConfigError(
                f"preprocessing.raw.shape={list(shape)} has not as many values as the model's {list(target)}: send "
                "model input instead."
            )
        _check_range(samples, self._range)
        return samples.reshape(-1, *target)


def _check_dtype(name: str) -> None:
    try:
        known = np.dtype(name).kind in "buif" and bool(name)
    except TypeError:
        known = False
    if not known:
        raise ConfigError(f"preprocessing.raw.dtype={name!r} must be the name of a type of numbers, such as 'uint8'.")


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


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


def _per_channel(values: NDArray[np.float64], key: str, input_shape: Sequence[int]) -> NDArray[np.float64]:
    if values.ndim == 0:
        return values
    channels = input_shape[0] if len(input_shape) else 1
    if len(values) != channels:
        raise ConfigError(f"preprocessing.{key} has {len(values)} values for {channels} channels.")
    return values.reshape(-1, *[1] * (len(input_shape) - 1))
