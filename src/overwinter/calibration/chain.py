"""A model as a chain of blocks, so that calibration holds one block at a time.

The blocks are the longest `torch.nn.ModuleList` with members called in order, each with the previous one's output and
otherwise the same arguments. A model without such a list is one block.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from overwinter.calibration.device_placement import moved
from overwinter.inputs import TensorInputs, take


class _Reached(Exception):  # noqa: N818 -- no error: it ends a pass early
    """The first block was called."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a block is called with beside what comes from the block before.

    Attributes:
        args: positional ones, without the first if that is what comes from the block before.
        keywords: keyword ones, without ``stream``.
        stream: keyword of what comes from the block before; None: it is the first positional argument.
    """

    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    stream: str | None = None


@dataclass(kw_only=True)
class Chain:
    """Blocks, and the inputs of the next one.

    Attributes:
        blocks: prefix of its layers' names -> block, in the order of calling.
        inputs: what comes from the block before, one per calibration batch; of a single block, the model's inputs.
        rest: further arguments of the blocks, one entry per calibration batch; they are the same for all blocks.
    """

    blocks: dict[str, nn.Module]
    inputs: list[TensorInputs]
    rest: list[Arguments]


def open_chain(model: nn.Module, batches: Sequence[TensorInputs]) -> Chain:
    """Find the blocks and run the calibration batches up to the first."""
    lists = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.ModuleList) and len(each) > 1]
    for name, blocks in sorted(lists, key=lambda pair: -len(pair[1])):
        named = {f"{name}.{index}." if name else f"{index}.": block for index, block in enumerate(blocks)}
        if _is_chain(model, list(blocks), take(batches[0], slice(0, 1))):
            return _entered(model, named, batches)
    return Chain(blocks={"": model}, inputs=list(batches), rest=[Arguments()] * len(batches))


def call_block(block: nn.Module, inputs: TensorInputs, rest: Arguments, device: str) -> torch.Tensor:
    """Return the output, on the CPU, of a block on a device: its first value, if it returns several."""
    args, keywords, entering = moved((rest.args, dict(rest.keywords), inputs), device)
    if rest.stream is None:
        return _first(block(entering, *args, **keywords)).to("cpu")
    return _first(block(*args, **keywords, **{rest.stream: entering})).to("cpu")


def _first(output: Any) -> torch.Tensor:
    value: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
    return value


def _split(args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, Arguments]:
    """Return what comes from the block before, and the rest: the first positional argument, or the first keyword."""
    if args:
        return args[0], Arguments(args=args[1:], keywords=keywords)
    stream = next((name for name, value in keywords.items() if isinstance(value, torch.Tensor)), None)
    rest = {name: value for name, value in keywords.items() if name != stream}
    return keywords.get(stream or ""), Arguments(keywords=rest, stream=stream)


@dataclass(frozen=True, kw_only=True)
class _Called:
    entering: Any
    rest: Arguments
    output: Any


def _is_chain(model: nn.Module, blocks: list[nn.Module], example: TensorInputs) -> bool:
    seen: list[_Called] = []

    def note(_block: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        entering, rest = _split(args, keywords)
        seen.append(_Called(entering=entering, rest=rest, output=_first(output)))

    handles = [block.register_forward_hook(note, with_kwargs=True) for block in blocks]
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return len(seen) == len(blocks) and all(
        isinstance(after.entering, torch.Tensor)
        and _same(before.output, after.entering)
        and _same(vars(before.rest), vars(after.rest))
        for before, after in itertools.pairwise(seen)
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of a kind that a call leaves as it was: not a cache, for instance."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one is other or (one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other))
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return bool(one is None or (isinstance(one, bool | int | float | str | torch.dtype) and one == other))


def _entered(model: nn.Module, blocks: dict[str, nn.Module], batches: Sequence[TensorInputs]) -> Chain:
    chain = Chain(blocks=blocks, inputs=[], rest=[])

    def keep(_block: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        entering, rest = _split(args, keywords)
        chain.inputs.append(entering)
        chain.rest.append(rest)
        raise _Reached

    handle = next(iter(blocks.values())).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for batch in batches:
            try:
                with torch.inference_mode():
                    model(batch)
            except _Reached:
                continue
    finally:
        handle.remove()
    return chain
