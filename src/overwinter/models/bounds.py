"""Memory limits while building an untrusted model: a malicious model.json could name any size."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from overwinter.errors import IntegrityError
from overwinter.models.memory_limit import memory_limited

# The float model before pruning and quantization is larger than the stored one: 8 times in 4 bits, 30 times if nearly
# all of it is zero, and channels may have been removed. Small models are not limited.
_TIMES_STORED = 64
_SMALL_BYTES = 1 << 30
_ELEMENT_BYTES = 4
_STEPS, _STEPS_PER_TENSOR = 4_000, 32  # a layer of two tensors takes about ten to make
_MAX_LAYERS = 10_000
_OTHER_BYTES = 1 << 30  # besides tensors: modules imported meanwhile, stacks of threads


def most_bytes(stored_bytes: int) -> int:
    """Return the most memory that the tensors of an untrusted model may take, by the size of its stored weights."""
    return max(_SMALL_BYTES, _TIMES_STORED * stored_bytes)


@contextlib.contextmanager
def bounded(model_config: Mapping[str, Any], stored_bytes: int, tensors: int) -> Iterator[None]:
    """Limit memory, within the context, to what the weights of an untrusted model account for.

    Tensors are counted before they are created (`Bounded`). Other Python objects, such as lists and copies of layers,
    are limited by the process's resource limit (Linux), which is restored afterwards.

    Args:
        model_config: `_target_` and its arguments.
        stored_bytes: size of the stored weights.
        tensors: The number of stored tensors.

    Raises:
        IntegrityError: the model needs more.
    """
    refuse_endless(model_config)
    bound = Bounded(stored_bytes, tensors)
    try:
        with memory_limited(bound.max_bytes + _OTHER_BYTES), bound:
            yield
    except MemoryError:
        raise bound.exceeded() from None


def refuse_endless(config: Any) -> None:
    """Refuse an absurd number of layers, which would keep a library busy for very long.

    Raises:
        IntegrityError: there is one, at any depth.
    """
    for key, value in config.items() if isinstance(config, Mapping) else ():
        refuse_endless(value)
        if "layer" in str(key) and isinstance(value, int) and value > _MAX_LAYERS:
            raise IntegrityError(f"The model's {key}={value} is above {_MAX_LAYERS}. Fix its configuration.")


class Bounded(TorchFunctionMode):
    """Context that limits the bytes of new tensors, checked before memory is allocated.

    Args:
        stored_bytes: size of the stored weights.
        tensors: The number of stored tensors.

    Attributes:
        max_bytes: the limit in bytes.

    Raises:
        IntegrityError: the model needs more.
    """

    def __init__(self, stored_bytes: int, tensors: int) -> None:
        super().__init__()
        self.max_bytes = most_bytes(stored_bytes)
        self._max_steps = _STEPS + _STEPS_PER_TENSOR * tensors
        self._bytes = self._steps = 0

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the elements that ``func`` creates, and call it or refuse."""
        given = [*args, *(kwargs or {}).values()]
        self._steps += 1
        if not any(isinstance(each, torch.Tensor) for each in given):  # it creates a tensor
            self._bytes += _asked_elements(func, given) * _ELEMENT_BYTES
        if self._bytes > self.max_bytes or self._steps > self._max_steps:
            raise self.exceeded()
        return func(*args, **(kwargs or {}))

    def exceeded(self) -> IntegrityError:
        """Return the error for a model that needs more than the limit."""
        return IntegrityError(
            f"The model would take more than {self.max_bytes >> 20} MiB or {self._max_steps} steps to build, "
            "more than its weights account for. Don't use it."
        )


def _asked_elements(func: Any, given: list[Any]) -> int:
    """Return the number of elements that arguments request: a shape, its sides, or the end of a range."""
    shapes: list[Any] = [each for each in given if isinstance(each, list | tuple) and _are_integers(each)]
    sides: list[int] = [each for each in given if isinstance(each, int) and not isinstance(each, bool)]
    square = sides * 2 if func is torch.eye and len(sides) == 1 else sides
    products: list[int] = [math.prod(map(abs, each)) for each in [*shapes, square]]
    return max(sides + products)


def _are_integers(values: Any) -> bool:
    return all(isinstance(each, int) for each in values)
