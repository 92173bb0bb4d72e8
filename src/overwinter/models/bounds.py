"""How much a stranger's model may take while it is built: who writes a size into model.json may not have the memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from overwinter.errors import IntegrityError

# The float model from before pruning and quantization is larger than what is stored: 8 times in 4 bits, and channels
# may be gone. A small one may be anything.
_TIMES_STORED = 64
_SMALL_BYTES = 1 << 30
_ELEMENT_BYTES = 4
_STEPS, _STEPS_PER_TENSOR = 4_000, 32  # a layer of two tensors takes about ten to make


class Bounded(TorchFunctionMode):
    """Within, tensors are made up to a number of bytes and no further; it is looked at before memory is taken.

    Args:
        stored_bytes: of the weights that the model is built for.
        tensors: how many they are.

    Raises:
        IntegrityError: more is asked for.
    """

    def __init__(self, stored_bytes: int, tensors: int) -> None:
        super().__init__()
        self._most_bytes = max(_SMALL_BYTES, _TIMES_STORED * stored_bytes)
        self._most_steps = _STEPS + _STEPS_PER_TENSOR * tensors
        self._bytes = self._steps = 0

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what it makes, refuse it or do it."""
        given = [*args, *(kwargs or {}).values()]
        self._steps += 1
        if not any(isinstance(each, torch.Tensor) for each in given):  # it makes one out of nothing
            self._bytes += _asked_elements(func, given) * _ELEMENT_BYTES
        if self._bytes > self._most_bytes or self._steps > self._most_steps:
            raise IntegrityError(
                f"The model would take more than {self._most_bytes >> 20} MiB or {self._most_steps} steps to build, "
                "which its weights don't account for."
            )
        return func(*args, **(kwargs or {}))


def _asked_elements(func: Any, given: list[Any]) -> int:
    """Return how many elements arguments stand for: a shape, numbers that are one, or the end of a range."""
    shapes: list[Any] = [each for each in given if isinstance(each, list | tuple) and _are_integers(each)]
    sides: list[int] = [each for each in given if isinstance(each, int) and not isinstance(each, bool)]
    square = sides * 2 if func is torch.eye and len(sides) == 1 else sides
    products: list[int] = [math.prod(map(abs, each)) for each in [*shapes, square]]
    return max(sides + products)


def _are_integers(values: Any) -> bool:
    return all(isinstance(each, int) for each in values)
