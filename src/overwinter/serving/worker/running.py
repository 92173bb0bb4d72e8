"""A woken model run on a request's samples, in batches of limited size, with every number checked."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overwinter.bundle.load import AwakeModel
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import Array, Inputs, chunks, named
from overwinter.serving.messages import RequestError

_AT_ONCE = 1 << 20  # values of model inputs: an unlimited batch would take memory in every layer
_MASK = "attention_mask"  # 1 for a token, 0 for padding after the last one
_WHOLE = "iu"  # NumPy's kinds of whole numbers
_ANY_SIDE = 512  # assumed of an axis that varies


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a model returned for a request.

    Attributes:
        values: outputs (n, ...), float32; a batch of shorter samples is filled with zeros.
        lengths: number of tokens of each sample, if there is an output for each token; else None.
        tokens: number of tokens of all samples; 0 if the model takes none.
    """

    values: Array
    lengths: Array | None = None
    tokens: int = 0

    def __iter__(self) -> Iterator[Array]:
        """Yield the output of each sample, without those for padding."""
        for place, output in enumerate(self.values):
            yield output if self.lengths is None else output[: int(self.lengths[place])]


class Runner:
    """Runs a model for one request.

    Args:
        model: The woken model.
        max_values: The maximum number of values of the outputs (`serve.limits.json_values`).
        within_s: The time limit, from now; it is checked between batches.
    """

    def __init__(self, model: AwakeModel, *, max_values: int, within_s: float = math.inf) -> None:
        self._model, self._max_values = model, max_values
        self._within_s, self._until_s = within_s, time.monotonic() + within_s

    def of_inputs(self, inputs: Inputs) -> Outputs:
        """Return the outputs of model inputs (n, ...) that fit the signature.

        Raises:
            RequestError: 400, a value is not finite, or the model cannot compute these inputs; 413, there
                are too many samples; 503, it takes too long.
        """
        samples = len(next(iter(named(inputs).values())))
        size = max(1, _AT_ONCE // max(1, _values_of_one(inputs)))
        return self._outputs(samples, chunks(inputs, size), lambda batch: batch)

    def of_raw(self, raw: Array | Sequence[Any]) -> Outputs:
        """Return the outputs of n raw samples, preprocessed batch by batch.

        Raises:
            RequestError: As `of_inputs`; also 400, a sample is not what the preprocessing takes.
        """
        specs = self._model.bundle.signature.inputs
        volume = max(math.prod(_ANY_SIDE if side is None else side for side in spec.shape[1:]) for spec in specs)
        size = max(1, _AT_ONCE // max(1, volume))
        batches = (raw[begin : begin + size] for begin in range(0, len(raw), size))
        return self._outputs(len(raw), batches, self.prepared)

    def prepared(self, raw: Any) -> Inputs:
        """Return the model inputs of raw samples.

        Raises:
            RequestError: 400, a sample is not what the preprocessing takes.
        """
        try:
            with np.errstate(all="ignore"):  # non-finite values have their own error
                return self._model.prepare(raw)
        except ConfigError as error:
            raise RequestError(400, str(error)) from None

    def _outputs(self, samples: int, batches: Iterator[Any], prepare: Callable[[Any], Inputs]) -> Outputs:
        if not samples:
            raise RequestError(400, "There is no sample.")
        fixed = self._model.bundle.signature.outputs[0].shape[1:]
        self._check_count(samples, samples * math.prod(1 if side is None else side for side in fixed))
        found, lengths, tokens = [], [], 0
        for batch in batches:
            inputs = prepare(batch)
            found.append(self._run(inputs))
            lengths.append(_lengths(inputs, found[-1]) if len(fixed) > 1 or fixed == (None,) else None)
            tokens += int(np.count_nonzero(named(inputs).get(_MASK, 0)))
            self._check_count(samples, samples * found[-1][0].size)
            if time.monotonic() > self._until_s:
                raise RequestError(503, f"{samples} samples took longer than {self._within_s:.3g} s: send fewer.")
        known = [each for each in lengths if each is not None]
        every = np.concatenate(known) if len(known) == len(lengths) else None
        return Outputs(values=_joined(found), lengths=every, tokens=tokens)

    def _check_count(self, samples: int, values: int) -> None:
        if values > self._max_values:
            raise RequestError(
                413,
                f"The response to {samples} samples has {values} values: send fewer at once "
                "(serve.limits.json_values).",
            )

    def _run(self, inputs: Inputs) -> Array:
        if not all(np.isfinite(array).all() for array in named(inputs).values()):
            raise RequestError(400, "`data` holds values that are not finite, or too large for the model.")
        try:
            with np.errstate(all="ignore"):  # non-finite values have their own error
                outputs = self._model.run(inputs)
        except (OverwinterError, MemoryError):
            raise
        except Exception as error:
            if not self._is_new(inputs):
                raise
            sys.stderr.write(f"The model failed on a request: {type(error).__name__}: {error}\n")
            given = "; ".join(f"{name} {_described(array)}" for name, array in named(inputs).items())
            raise RequestError(400, f"The model cannot compute inputs of these shapes and values: {given}.") from None
        if not np.isfinite(outputs).all():
            raise RequestError(400, "`data` is too large for the model: its output is not finite.")
        return outputs

    def _is_new(self, inputs: Inputs) -> bool:
        """Return whether the inputs differ in kind from the canary's, which the model did compute at its wake.

        They have other sides, or whole numbers outside of its range, such as a token beyond the vocabulary.
        """
        recorded = named(self._model.bundle.canary.inputs)
        return any(
            array.shape[1:] != recorded[name].shape[1:] or _exceeds(array, recorded[name])
            for name, array in named(inputs).items()
        )


def _exceeds(array: Array, recorded: Array) -> bool:
    return array.dtype.kind in _WHOLE and bool(array.min() < recorded.min() or array.max() > recorded.max())


def _described(array: Array) -> str:
    span = f" from {array.min()} to {array.max()}" if array.dtype.kind in _WHOLE else ""
    return f"{list(array.shape)}{span}"


def _values_of_one(inputs: Inputs) -> int:
    arrays: list[Array] = list(named(inputs).values())
    return max(math.prod(array.shape[1:]) for array in arrays)


def _lengths(inputs: Inputs, outputs: Array) -> Array | None:
    """Return the number of tokens of each sample, if outputs (n, length, ...) are as long as the tokens."""
    mask = named(inputs).get(_MASK)
    if mask is None or mask.ndim != 2 or outputs.shape[:2] != mask.shape:
        return None
    lengths: Array = (mask != 0).sum(axis=1)
    return lengths


def _joined(outputs: Sequence[Array]) -> Array:
    """Return batches as one; an axis that varies is filled with zeros up to the longest."""
    shapes = [batch.shape[1:] for batch in outputs]
    if len(set(shapes)) == 1:
        return np.concatenate(outputs)
    longest = tuple(map(max, zip(*shapes, strict=True)))
    padded = [
        np.pad(batch, [(0, 0), *((0, most - side) for most, side in zip(longest, batch.shape[1:], strict=True))])
        for batch in outputs
    ]
    return np.concatenate(padded)
