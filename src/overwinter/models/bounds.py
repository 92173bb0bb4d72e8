"""How much a stranger's model may take while it is built: who writes a size into model.json may not have the memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from overwinter.errors import IntegrityError
from overwinter.models.memory_limit import memory_limited

# The float model from before pruning and quantization is larger than what is stored: 8 times in 4 bits, and channels
# may be gone. A small one may be anything.
_TIMES_STORED = 64
_SMALL_BYTES = 1 << 30
_ELEMENT_BYTES = 4
_STEPS, _STEPS_PER_TENSOR = 4_000, 32  # a layer of two tensors takes about ten to make
_MAX_LAYERS = 10_000
_OTHER_BYTES = 1 << 30  # beside tensors: modules that are imported meanwhile, stacks of threads


@contextlib.contextmanager
def bounded(model_config: Mapping[str, Any], stored_bytes: int, tensors: int) -> Iterator[None]:
    """Within, the model that a stranger has named is built, with no more memory than its weights account for.

    Tensors are counted before they are made (`Bounded`). What Python makes beside them, such as lists and copies of
    layers, ends at the system's limit on this process (Linux), which is then as it was.

    Args:
        model_config: `_target_` and its arguments.
        stored_bytes: of the weights that the model is built for.
        tensors: how many they are.

    Raises:
        IntegrityError: more is asked for.
    """
    refuse_endless(model_config)
    bound = Bounded(stored_bytes, tensors)
    try:
        with memory_limited(bound.max_bytes + _OTHER_BYTES), bound:
            yield
    except MemoryError:
        raise bound.exceeded() from None


def refuse_endless(config: Any) -> None:
    """Refuse a number of layers that no model has, over which a library would go on and on before it fails.

    Raises:
        IntegrityError: there is one, however deep.
    """
    for key, value in config.items() if isinstance(config, Mapping) else ():
        refuse_endless(value)
        if "layer" in str(key) and isinstance(value, int) and value > _MAX_LAYERS:
            raise IntegrityError(f"The model's {key}={value} is above {_MAX_LAYERS}. Fix its configuration.")


class Bounded(TorchFunctionMode):
    """Within, tensors are made up to a number of bytes and no further; it is looked at before memory is taken.

    Args:
        stored_bytes: of the weights that the model is built for.
        tensors: how many they are.

    Attributes:
        max_bytes: that number.

    Raises:
        IntegrityError: more is asked for.
    """

    def __init__(self, stored_bytes: int, tensors: int) -> None:
        super().__init__()
        self.max_bytes = max(_SMALL_BYTES, _TIMES_STORED * stored_bytes)
        self._max_steps = _STEPS + _STEPS_PER_TENSOR * tensors
        self._bytes = self._steps = 0

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what it makes, refuse it or do it."""
        given = [*args, *(kwargs or {}).values()]
        self._steps += 1
        if not any(isinstance(each, torch.Tensor) for each in given):  # it makes one out of nothing
            self._bytes += _asked_elements(func, given) * _ELEMENT_BYTES
        if self._bytes > self.max_bytes or self._steps > self._max_steps:
            raise self.exceeded()
        return func(*args, **(kwargs or {}))

    def exceeded(self) -> IntegrityError:
        """Return what says that it asked for more."""
        return IntegrityError(
            f"The model would take more than {self.max_bytes >> 20} MiB or {self._max_steps} steps to build, "
            "which its weights don't account for."
        )


def _asked_elements(func: Any, given: list[Any]) -> int:
    """Return how many elements arguments stand for: a shape, numbers that are one, or the end of a range."""
    shapes: list[Any] = [each for each in given if isinstance(each, list | tuple) and _are_integers(each)]
    sides: list[int] = [each for each in given if isinstance(each, int) and not isinstance(each, bool)]
    square = sides * 2 if func is torch.eye and len(sides) == 1 else sides
    products: list[int] = [math.prod(map(abs, each)) for each in [*shapes, square]]
    return max(sides + products)


def _are_integers(values: Any) -> bool:
    return all(isinstance(each, int) for each in values)
