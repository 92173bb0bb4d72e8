"""A batch of model inputs: one tensor (n, ...), or several by name for models that take more than one.

The functions work on torch tensors and on numpy arrays alike; torch is imported only where tensors are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

INPUT = "input"
"""The name of the only input of a model that takes one tensor."""

_LARGEST_BATCH = 256
_BATCH_BYTES = 64_000_000

Array = NDArray[Any]
Inputs: TypeAlias = Array | Mapping[str, Array]
TensorInputs: TypeAlias = "torch.Tensor | Mapping[str, torch.Tensor]"


def named(inputs: Any) -> dict[str, Any]:
    """Return the tensors or arrays of a batch by name; a single one is called `input`."""
    return dict(inputs) if isinstance(inputs, Mapping) else {INPUT: inputs}


def unnamed(inputs: Mapping[str, Any]) -> Any:
    """Return tensors or arrays by name as a batch: a single one called `input` by itself; the inverse of `named`."""
    return inputs[INPUT] if set(inputs) == {INPUT} else dict(inputs)


def each(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Return the batch with ``function`` applied to every tensor or array of it."""
    if isinstance(inputs, Mapping):
        return {name: function(value) for name, value in inputs.items()}
    return function(inputs)


def count(inputs: Any) -> int:
    """Return the number of samples of a batch."""
    return len(next(iter(named(inputs).values())))


def take(inputs: Any, index: Any) -> Any:
    """Return the samples of a batch that a slice, a list or an array of numbers picks."""
    return each(lambda value: value[index], inputs)


def fitting_batch(sample_bytes: int) -> int:
    """Return how many samples to process at once where each takes ``sample_bytes`` of inputs and outputs.

    It is 256, or fewer where outputs are large, such as logits for every token of a text.
    """
    return int(min(_LARGEST_BATCH, max(1, _BATCH_BYTES // max(1, sample_bytes))))


def chunks(inputs: Any, size: int) -> Iterator[Any]:
    """Yield a batch in parts of at most ``size`` samples."""
    for begin in range(0, count(inputs), size):
        yield take(inputs, slice(begin, begin + size))


def to_tensors(inputs: Inputs, device: str | torch.device = "cpu") -> Any:
    """Return a batch of arrays as tensors on a device; on the CPU they share memory with the arrays."""
    import torch

    return each(lambda value: torch.from_numpy(value).to(device), inputs)


def to_arrays(inputs: TensorInputs) -> Inputs:
    """Return a batch of tensors, on any device, as arrays."""
    return cast(Inputs, each(lambda value: value.detach().cpu().numpy(), inputs))


def move(inputs: TensorInputs, device: str | torch.device) -> Any:
    """Return a batch of tensors on a device."""
    return each(lambda value: value.to(device), inputs)
