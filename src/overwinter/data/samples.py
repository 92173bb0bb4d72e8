"""Samples as a data set gives them, and the batch that they make.

A sample is a pair (input, target), or a mapping with a key of `TARGET_NAMES`. An input is a tensor, an array, a list of
numbers, a mapping of them by name, or a tuple of tensors, whose names are their places: "0", "1". Floats of any width
become float32, whole numbers int64; truth values stay. Targets are kept as they are: a task reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from overwinter.data.protocol import Batch
from overwinter.errors import ConfigError
from overwinter.inputs import INPUT, each, named

TARGET_NAMES = ("labels", "label", "targets", "target")
_IGNORED = -100  # of whole numbers, as torch's cross entropy has it

Pad: TypeAlias = "float | Mapping[str, float] | None"


def as_sample(sample: Any) -> tuple[Any, Any]:
    """Return the input and the target of one sample, both as the data set gives them.

    Raises:
        ConfigError: it is neither a pair nor a mapping with a target.
    """
    if isinstance(sample, Mapping):
        return _of_mapping(sample)
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise ConfigError(
            f"A sample is {_described(sample)}. Return a pair from __getitem__: input, target. "
            "Several inputs are a mapping or a tuple of tensors."
        )
    return sample[0], sample[1]


def as_input(value: Any) -> Any:
    """Return the input of one sample as a tensor, or as tensors by name.

    Raises:
        ConfigError: it is no array of numbers.
    """
    if isinstance(value, torch.Tensor):
        return model_type(value)
    if isinstance(value, tuple) and value and all(isinstance(part, torch.Tensor | np.ndarray) for part in value):
        value = {str(place): part for place, part in enumerate(value)}
    if isinstance(value, Mapping):
        tensors = {str(name): _input_tensor(part, f"The input {name!r}") for name, part in value.items()}
        return unwrapped(tensors)
    return _input_tensor(value, "An input")


def raw_input(value: Any) -> Any:
    """Return the raw input of one sample: a text, the bytes of a file, an array; the only one of a mapping."""
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def unwrapped(inputs: dict[str, Any]) -> Any:
    """Return the only tensor of a batch or sample that has one, which needs no name; else the mapping.

    Raises:
        ConfigError: there is none.
    """
    if not inputs:
        raise ConfigError("A sample has a target and no input. Return both.")
    return next(iter(inputs.values())) if len(inputs) == 1 else inputs


def model_type(tensor: torch.Tensor) -> torch.Tensor:
    """Return inputs as models take them: float32, int64 or bool.

    Raises:
        ConfigError: they are complex.
    """
    if tensor.dtype in (torch.float32, torch.int64, torch.bool):
        return tensor
    if tensor.is_complex():
        raise ConfigError(f"Inputs are {tensor.dtype}, which no runtime takes. Return real and imaginary parts.")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def collate(samples: Sequence[Any], pad: Pad = None) -> Batch:
    """Return inputs, one tensor (n, ...) or several by name, and targets (n, ...).

    Args:
        samples: at least one.
        pad: fills up what is shorter than the longest of the batch: a number for all inputs, or one by name; targets
            of whole numbers are filled with -100 unless it names a value for "targets". None: lengths must be equal.

    Raises:
        ConfigError: a sample is none, or the samples fit into no batch.
    """
    pairs = [as_sample(sample) for sample in samples]
    return collate_inputs([value for value, _ in pairs], pad), collate_targets([target for _, target in pairs], pad)


def collate_inputs(values: Sequence[Any], pad: Pad = None) -> Any:
    """Return the inputs of samples as one tensor (n, ...), or as several by name."""
    inputs = [as_input(value) for value in values]
    first = inputs[0]
    if not isinstance(first, Mapping):
        return _stacked(inputs, _filler(pad, INPUT), "Inputs")
    for other in inputs:
        if named(other).keys() != first.keys():
            raise ConfigError(
                f"A sample has the inputs {_listed(first)}, another one {_listed(named(other))}. Return the same for "
                "every sample."
            )
    return {name: _stacked([value[name] for value in inputs], _filler(pad, name), f"Inputs {name!r}") for name in first}


def collate_targets(targets: Sequence[Any], pad: Pad = None) -> torch.Tensor:
    """Return the targets of samples as one tensor (n, ...), of the type that they have."""
    if all(type(target) in (int, float, bool) for target in targets):
        return torch.tensor(targets)
    tensors = [_target_tensor(target) for target in targets]
    if {tensor.dim() for tensor in tensors} == {0, 1} and all(tensor.numel() == 1 for tensor in tensors):
        tensors = [tensor.reshape(()) for tensor in tensors]
    return _stacked(tensors, _target_filler(pad, tensors[0]), "Targets")


def read_batch(batch: Any) -> Batch:
    """Return what a data source's own `collate` made, with inputs in the types that models take.

    Raises:
        ConfigError: it is no pair of tensors, or they are not of the same length.
    """
    inputs, targets = as_sample(batch)
    tensors = as_input(inputs)
    found = _target_tensor(targets)
    lengths = {len(value) if value.dim() else 0 for value in (*named(tensors).values(), found)}
    if len(lengths) > 1:
        shapes = ", ".join(str(list(value.shape)) for value in (*named(tensors).values(), found))
        raise ConfigError(f"data: `collate` returned tensors of the shapes {shapes}. Their first axis is the batch.")
    return tensors, found


def shapes_of(inputs: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of one sample of a batch, by name."""
    return {name: tuple(value.shape[1:]) for name, value in named(inputs).items()}


def own_inputs(inputs: Any) -> Any:
    """Return tensors or arrays, one or several, as tensors of any type; a tuple gets its places as names."""
    if isinstance(inputs, tuple):
        inputs = {str(place): part for place, part in enumerate(inputs)}
    if isinstance(inputs, Mapping):
        inputs = unwrapped({str(name): part for name, part in inputs.items()})
    return each(torch.as_tensor, inputs)


def _of_mapping(sample: Mapping[str, Any]) -> tuple[Any, Any]:
    name = next((name for name in TARGET_NAMES if name in sample), None)
    if name is None:
        raise ConfigError(
            f"A sample has the keys {_listed(sample)}, and none is its target. Call it {', '.join(TARGET_NAMES[:-1])} "
            f"or {TARGET_NAMES[-1]}, or return a pair from __getitem__: input, target."
        )
    return {key: value for key, value in sample.items() if key != name}, sample[name]


def _input_tensor(value: Any, what: str) -> torch.Tensor:
    tensor = _as_tensor(value)
    if tensor is None:
        raise ConfigError(f"{what} is {_described(value)}. Return a tensor.")
    return model_type(tensor)


def _target_tensor(value: Any) -> torch.Tensor:
    tensor = None if isinstance(value, str | bytes) else _as_tensor(value)
    if tensor is None:
        raise ConfigError(f"A target is {_described(value)}. Return a number or a tensor: of a class, its number.")
    return tensor


def _stacked(tensors: Sequence[torch.Tensor], filler: float | None, what: str) -> torch.Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) == 1:
        return torch.stack(list(tensors))
    first, second = sorted(shapes)[:2]
    if filler is None or len({len(shape) for shape in shapes}) > 1:
        raise ConfigError(
            f"{what} have the shapes {list(first)} and {list(second)}, which no batch can hold. Pad or resize them to "
            "one shape in your data set, or give the data source an attribute `pad`, the value that fills them up."
        )
    longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    stacked = torch.full((len(tensors), *longest), filler, dtype=tensors[0].dtype)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(slice(size) for size in tensor.shape)] = tensor
    return stacked


def _filler(pad: Pad, name: str) -> float | None:
    return pad.get(name) if isinstance(pad, Mapping) else pad


def _target_filler(pad: Pad, target: torch.Tensor) -> float | None:
    named_ones = [pad[name] for name in TARGET_NAMES if name in pad] if isinstance(pad, Mapping) else []
    if pad is None or named_ones:
        return named_ones[0] if named_ones else None
    return None if target.is_floating_point() else _IGNORED


def _as_tensor(value: Any) -> torch.Tensor | None:
    try:
        if isinstance(value, np.ndarray):  # torch takes neither negative strides nor another machine's byte order
            value = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(str, names)) or "nothing"


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of the shape {list(shape)}"
    text = repr(value)
    return f"{text} ({type(value).__name__})" if len(text) <= 40 else f"a {type(value).__name__}"
