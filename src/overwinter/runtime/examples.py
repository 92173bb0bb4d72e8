"""Example inputs: samples of the data with which a model is traced, and on which runtimes are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from overwinter import inputs as batches
from overwinter.inputs import Array, Inputs
from overwinter.signature import Signature

EXAMPLES = 8  # that a stage draws
_COMPARED = (1, 5)  # a compiler may make one program for a batch of one, and another for all larger ones
_TRACED = 3  # none of those, so that a batch size that tracing froze is found
_SHORTER = 2  # samples that are compared at another length


def traced_inputs(examples: Inputs) -> Inputs:
    """Return the batch (3, ...) with which a model is traced."""
    return _repeated(examples, _TRACED)


def compared_inputs(examples: Inputs) -> Iterator[Inputs]:
    """Yield the batches (1, ...) and (5, ...) on which outputs are compared."""
    for size in _COMPARED:
        yield _repeated(batches.take(examples, slice(None, None, -1)), size)


def shorter_inputs(examples: Inputs, signature: Signature) -> Iterator[Inputs]:
    """Yield batches (2, ...) that are cut where axes other than the batch's vary; none if no axis does.

    Axes of one side, such as the lengths of tokens and of their mask, are cut alike: to the power of two below, which
    networks that halve their input take as well, or else to the half.
    """
    sides = sorted({side for name, axis in _varying(signature) if (side := _side(examples, name, axis)) > 1})
    for shorter in (_power_below, lambda side: side // 2):
        cut = {side: shorter(side) for side in sides}
        if cut:
            yield _cut(_repeated(examples, _SHORTER), signature, cut)


def expected_outputs(
    run: Callable[[Inputs], Array], examples: Inputs, signature: Signature
) -> Iterator[tuple[Inputs, Array]]:
    """Yield the batches on which outputs are compared with what ``run`` returns for them.

    A cut batch is left out if ``run`` cannot take it, for a model may need a length that its samples have.
    """
    for inputs in compared_inputs(examples):
        yield inputs, run(inputs)
    for inputs in shorter_inputs(examples, signature):
        try:
            outputs = run(inputs)
        except Exception:  # noqa: BLE001, S112 -- whatever a model raises for a size that is not one of its own
            continue
        if np.isfinite(outputs).all():
            yield inputs, outputs
            return


def _varying(signature: Signature) -> Iterator[tuple[str, int]]:
    for spec in signature.inputs:
        yield from ((spec.name, axis) for axis, side in enumerate(spec.shape) if axis > 0 and side is None)


def _side(examples: Inputs, name: str, axis: int) -> int:
    return int(batches.named(examples)[name].shape[axis])


def _cut(examples: Inputs, signature: Signature, sides: dict[int, int]) -> Inputs:
    cut = batches.named(examples)
    for name, axis in _varying(signature):
        kept = sides.get(cut[name].shape[axis], cut[name].shape[axis])
        cut[name] = np.take(cut[name], range(kept), axis)
    shorter: Inputs = batches.unnamed(cut)
    return shorter


def _power_below(side: int) -> int:
    return 1 << (side - 1).bit_length() - 1


def _repeated(examples: Inputs, count: int) -> Inputs:
    """Return the first samples, from the beginning again where there are too few."""
    repeated: Inputs = batches.take(examples, [index % batches.count(examples) for index in range(count)])
    return repeated
