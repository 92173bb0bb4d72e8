"""Example inputs: samples of the data with which a model is traced, and on which runtimes are compared."""

from __future__ import annotations

from collections.abc import Iterator

from overwinter.runtime.session import Array

EXAMPLES = 8  # that a stage draws
_COMPARED = (1, 5)  # a compiler may make one program for a batch of one, and another for all larger ones
_TRACED = 3  # none of those, so that a batch size that tracing froze is found


def traced_inputs(examples: Array) -> Array:
    """Return the batch (3, ...) with which a model is traced."""
    return _repeated(examples, _TRACED)


def compared_inputs(examples: Array) -> Iterator[Array]:
    """Yield the batches (1, ...) and (5, ...) on which outputs are compared."""
    for size in _COMPARED:
        yield _repeated(examples[::-1], size)


def _repeated(examples: Array, count: int) -> Array:
    """Return the first samples, from the beginning again where there are too few."""
    repeated: Array = examples[[index % len(examples) for index in range(count)]]
    return repeated
