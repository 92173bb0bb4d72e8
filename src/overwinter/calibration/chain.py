"""A model as a chain of blocks, so that calibration holds one block at a time.

The blocks are the longest `torch.nn.ModuleList` with members called in order, each with the previous one's output. A
model without such a list is one block.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from overwinter.calibration.device_placement import moved


class _Reached(Exception):  # noqa: N818 -- no error: it ends a pass early
    """The first block was called."""


@dataclass(kw_only=True)
class Chain:
    """Blocks, and the inputs of the next one.

    Attributes:
        blocks: prefix of its layers' names -> block, in the order of calling.
        inputs: first argument of the next block, one per calibration batch.
        rest: further arguments of the blocks, one entry per calibration batch; they are the same for all blocks.
    """

    blocks: dict[str, nn.Module]
    inputs: list[torch.Tensor]
    rest: list[tuple[tuple[Any, ...], dict[str, Any]]]


def open_chain(model: nn.Module, batches: list[torch.Tensor]) -> Chain:
    """Find the blocks and run the calibration batches up to the first."""
    lists = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.ModuleList) and len(each) > 1]
    for name, blocks in sorted(lists, key=lambda pair: -len(pair[1])):
        named = {f"{name}.{index}." if name else f"{index}.": block for index, block in enumerate(blocks)}
        if _is_chain(model, list(blocks), batches[0][:1]):
            return _entered(model, named, batches)
    return Chain(blocks={"": model}, inputs=batches, rest=[((), {})] * len(batches))


def call_block(
    block: nn.Module, inputs: torch.Tensor, rest: tuple[tuple[Any, ...], dict[str, Any]], device: str
) -> torch.Tensor:
    """Return the output, on the CPU, of a block on a device: its first value, if it returns several."""
    args, keywords = moved(rest, device)
    return _first(block(inputs.to(device), *args, **keywords)).to("cpu")


def _first(output: Any) -> torch.Tensor:
    value: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return value


def _is_chain(model: nn.Module, blocks: list[nn.Module], example: torch.Tensor) -> bool:
    seen: list[tuple[Any, Any]] = []
    handles = [
        block.register_forward_hook(lambda _block, given, output: seen.append((given, output))) for block in blocks
    ]
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return (
        len(seen) == len(blocks)
        and bool(seen[0][0])
        and all(given and _same(given[0], _first(before[1])) for before, (given, _) in itertools.pairwise(seen))
    )


def _same(given: Any, given_output: Any) -> bool:
    tensors = isinstance(given, torch.Tensor) and isinstance(given_output, torch.Tensor)
    return tensors and given.shape == given_output.shape and torch.equal(given, given_output)


def _entered(model: nn.Module, blocks: dict[str, nn.Module], batches: list[torch.Tensor]) -> Chain:
    chain = Chain(blocks=blocks, inputs=[], rest=[])

    def take(_block: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        chain.inputs.append(args[0])
        chain.rest.append((args[1:], keywords))
        raise _Reached

    handle = next(iter(blocks.values())).register_forward_pre_hook(take, with_kwargs=True)
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
