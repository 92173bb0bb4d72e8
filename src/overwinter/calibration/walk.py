"""The walk through a model, block by block, that quantization and sparsity share.

The layers of a block are observed on all calibration samples, then changed, and then the next block's inputs are
computed: statistics are held of one block at a time. On a GPU its memory holds one block, with one batch of its inputs
and its statistics: the model stays on the CPU, and so do the calibration samples as the blocks answer them, of which a
large model's may not fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from overwinter.calibration.chain import Arguments, call_block, open_chain
from overwinter.calibration.device_placement import CPU, offloaded, streamed
from overwinter.calibration.precision import quick
from overwinter.calibration.statistics import Calls, Listener
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs, named, take
from overwinter.models import is_finite
from overwinter.progress import Progress, silent


class Work(Protocol):
    """What is done on a walk, on the device that computes."""

    def observe(self, inputs: Calls, dense: Calls) -> None:
        """Take in what a block's layers are given by one batch, and what they are given in the dense model."""

    def change(self, layers: Sequence[str]) -> None:
        """Change layers, in place or by replacing them; all of the calibration was observed."""


@dataclass(frozen=True, kw_only=True)
class Gait:
    """What a block is given.

    Attributes:
        follows: whether that is what the changed blocks before it return, or what they returned before the change.
        compares: whether the dense model's inputs are computed too; else they are said to be the same.
        quickly: whether in bfloat16, where that is fast. Sums over thousands of inputs are none the worse for it;
            ranges would be.
    """

    follows: bool
    compares: bool
    quickly: bool


def walk_blocks(
    model: nn.Module,
    layers: Sequence[str],
    batches: Sequence[TensorInputs],
    work: Work,
    gait: Gait,
    *,
    device: str = CPU,
    progress: Progress = silent,
) -> None:
    """Observe and change layers block by block, then those before and behind the blocks by their inputs from these.

    Args:
        model: on the CPU, in evaluation mode, without gradients.
        layers: names of the layers.
        batches: of model inputs, at least one with a sample.
        work: what is done.
        gait: what a block is given.
        device: that computes: `cpu`, `cuda` or `cuda:N`.
        progress: called with the layers that are changed, and with how many there are, after each block.

    Raises:
        OverwinterError: NaN or infinity in a layer's input, or a model that gives other outputs when called again.
    """
    chain = open_chain(model, batches)
    streams, done = _Streams(dense=list(chain.inputs), given=list(chain.inputs)), set()
    last = next(reversed(chain.blocks))
    for prefix, block in chain.blocks.items():
        names = [name for name in layers if name.startswith(prefix)]
        done.update(names)
        with offloaded(block, device):
            visited = _Visited(block=block, rest=chain.rest[prefix], device=device)
            _observe({name: model.get_submodule(name) for name in names}, visited, streams, work, gait)
            work.change(names)
            if prefix != last:
                _advance(visited, streams, gait)
        progress(len(done), len(layers))
    left = [name for name in layers if name not in done]
    if left:
        with streamed(model, list(chain.blocks.values()), device):
            _outside(model, left, batches, work, device)
        progress(len(layers), len(layers))


@dataclass(kw_only=True)
class _Streams:
    """What the next block is given, one per calibration batch: by the dense blocks, and by those of the walk."""

    dense: list[TensorInputs]
    given: list[TensorInputs]


@dataclass(frozen=True, kw_only=True)
class _Visited:
    """A block on the device that computes, and the further arguments of each calibration batch."""

    block: nn.Module
    rest: Sequence[Arguments]
    device: str

    def output(self, inputs: TensorInputs, rest: Arguments, *, quickly: bool) -> torch.Tensor:
        with quick(torch.device(self.device)) if quickly else contextlib.nullcontext():
            return call_block(self.block, inputs, rest, self.device)


@dataclass(kw_only=True)
class _Pass:
    inputs: Calls
    output: torch.Tensor


def _observe(layers: Mapping[str, nn.Module], visited: _Visited, streams: _Streams, work: Work, gait: Gait) -> None:
    for index, rest in enumerate(visited.rest):
        now = _observed(layers, visited, streams.given[index], rest, quickly=gait.quickly)
        before = _observed(layers, visited, streams.dense[index], rest, quickly=True) if gait.compares else now
        _refuse_broken(now.inputs)
        work.observe(now.inputs, before.inputs)
        streams.dense[index] = before.output


def _advance(visited: _Visited, streams: _Streams, gait: Gait) -> None:
    """Compute what the next block is given."""
    if not gait.follows:
        streams.given = list(streams.dense)
        return
    given = zip(streams.given, visited.rest, strict=True)
    streams.given = [visited.output(*each, quickly=gait.quickly) for each in given]


def _observed(
    layers: Mapping[str, nn.Module], visited: _Visited, inputs: TensorInputs, rest: Arguments, *, quickly: bool
) -> _Pass:
    with Listener(layers) as listener:
        output = visited.output(inputs, rest, quickly=quickly)
    return _Pass(inputs=listener.inputs, output=output)


def _outside(model: nn.Module, names: Sequence[str], batches: Sequence[TensorInputs], work: Work, device: str) -> None:
    """Observe and change the layers before and behind the blocks, by their inputs from the changed blocks."""
    whole = _Visited(block=model, rest=[], device=device)
    layers = {name: model.get_submodule(name) for name in names}
    calls: dict[tuple[torch.Size, ...], int] = {}  # a recurrent cell is called once for every position
    for batch in batches:
        sizes = _sample_sizes(batch)
        if sizes not in calls:
            with Listener(layers) as counter:
                whole.output(take(batch, slice(0, 1)), Arguments(), quickly=False)
            calls[sizes] = sum(map(len, counter.inputs.values()))
        with Listener(layers, calls=calls[sizes]) as listener:
            whole.output(batch, Arguments(), quickly=False)
        _refuse_broken(listener.inputs)
        work.observe(listener.inputs, listener.inputs)
    work.change(names)


def _sample_sizes(batch: TensorInputs) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape[1:] for tensor in named(batch).values())


def _refuse_broken(inputs: Calls) -> None:
    for name, calls in inputs.items():
        if not all(map(is_finite, calls)):
            raise OverwinterError(f"The layer {name} is given NaN or infinity by the calibration samples.")
