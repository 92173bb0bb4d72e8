"""One sample as every stage takes it: a float32 tensor and an int. What is clearly meant is taken, all else refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from overwinter.errors import ConfigError


def as_sample(sample: Any) -> tuple[torch.Tensor, int]:
    """Return the input and the label of one sample.

    Raises:
        ConfigError: it is no pair, its input is no float array, or its label names no class.
    """
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise ConfigError(f"A sample is {_described(sample)}. Return a pair from __getitem__: input, label.")
    return as_input(sample[0]), as_label(sample[1])


def collate(samples: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (n, ...), float32, and labels (n,), int64.

    Raises:
        ConfigError: a sample is refused by `as_sample`, or their shapes differ.
    """
    pairs = [as_sample(sample) for sample in samples]
    shapes = {tuple(inputs.shape) for inputs, _ in pairs}
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise ConfigError(
            f"Inputs have the shapes {list(first)} and {list(second)}, which no batch can hold. "
            "Pad or resize them to one shape in your data set."
        )
    return torch.stack([inputs for inputs, _ in pairs]), torch.tensor([label for _, label in pairs])


def as_input(value: Any) -> torch.Tensor:
    """Return a model input as float32: tensors, arrays and lists of floats of any width.

    Raises:
        ConfigError: it holds whole numbers, whose scale is not ours to guess, or is no array.
    """
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value
    tensor = _as_tensor(value)
    if tensor is None:
        raise ConfigError(f"An input is {_described(value)}. Return a float32 tensor.")
    if not tensor.is_floating_point():
        raise ConfigError(
            f"Inputs are {tensor.dtype}. Return float32 tensors: `x.float() / 255` of the pixels of an image, "
            "`x.float()` of tokens, which forward() turns back with `x.long()`."
        )
    return tensor.to(torch.float32)


def as_label(value: Any) -> int:
    """Return the number of a class, given as an int or as one number of any other type.

    Raises:
        ConfigError: it is no whole number from 0, or not one.
    """
    if type(value) is int and value >= 0:
        return value
    tensor = None if isinstance(value, str | bytes) else _as_tensor(value)
    if tensor is None or tensor.numel() != 1:
        raise ConfigError(f"A label is {_described(value)}. Return the number of its class as an int, from 0.")
    return int(as_labels(tensor.reshape(1)))


def as_labels(labels: torch.Tensor) -> torch.Tensor:
    """Return the numbers of classes (n,) or (n, 1) of any type as int64 (n,).

    Raises:
        ConfigError: one is no whole number, or is negative.
    """
    flat = labels.reshape(-1) if labels.dim() == 2 and labels.shape[1] == 1 else labels
    if flat.is_complex() or (flat.is_floating_point() and not torch.equal(flat, flat.round())):
        broken = flat if flat.is_complex() else flat[flat != flat.round()]
        raise ConfigError(
            f"A label is {broken.flatten()[0].item():g}, which is no class. Return the number of its class as an int, "
            "from 0; a regression on numbers is not supported yet."
        )
    whole = flat.to(torch.int64)
    if len(whole) and int(whole.min()) < 0:
        raise ConfigError(
            f"A label is {int(whole.min())}. Labels go from 0: leave samples without a class out of the split."
        )
    return whole


def _as_tensor(value: Any) -> torch.Tensor | None:
    try:
        if isinstance(value, np.ndarray):  # torch takes neither negative strides nor another machine's byte order
            value = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of the shape {list(shape)}"
    text = repr(value)
    return f"{text} ({type(value).__name__})" if len(text) <= 40 else f"a {type(value).__name__}"
