"""A model as a chain of blocks, so that calibration holds one block at a time.

The blocks are the longest `torch.nn.ModuleList` whose members are called once each, in order, with the previous one's
output and further arguments of their own: a sliding-window block has another mask than a full one, and another rotary
base. What each block is called with is recorded. A list is taken only if its blocks, called one by one with what was
recorded, give what the model gives, bit for bit. A model without such a list is one block.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from overwinter.calibration.device_placement import CPU, moved
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs, named, take


class _Reached(Exception):  # noqa: N818 -- no error: it ends a pass early
    """The last block was called."""


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
        rest: prefix -> further arguments of the block, one entry per calibration batch.
    """

    blocks: dict[str, nn.Module]
    inputs: list[TensorInputs]
    rest: dict[str, list[Arguments]]


def open_chain(model: nn.Module, batches: Sequence[TensorInputs]) -> Chain:
    """Find the blocks and run the calibration batches up to the first.

    Args:
        model: in evaluation mode.
        batches: model inputs, at least one batch with a sample.

    Raises:
        OverwinterError: the model gives other outputs when it is called again.
    """
    example = _longest_sample(batches)
    lists = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.ModuleList) and len(each) > 1]
    for name, blocks in sorted(lists, key=lambda pair: -len(pair[1])):
        prefixed = {f"{name}.{index}." if name else f"{index}.": block for index, block in enumerate(blocks)}
        calls = _calls(model, list(blocks), example)
        if _is_chain(calls, list(blocks)) and _is_walked_alike(model, prefixed, example, calls):
            return _entered(model, prefixed, batches, calls)
    _check_repeatable(model, example)
    return Chain(blocks={"": model}, inputs=list(batches), rest={"": [Arguments()] * len(batches)})


def call_block(block: nn.Module, inputs: TensorInputs, rest: Arguments, device: str) -> torch.Tensor:
    """Return the output, on the CPU, of a block on a device: its first value, if it returns several."""
    args, keywords, entering = moved((rest.args, dict(rest.keywords), inputs), device)
    if rest.stream is None:
        return _first(block(entering, *args, **keywords)).to(CPU)
    return _first(block(*args, **keywords, **{rest.stream: entering})).to(CPU)


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


def _longest_sample(batches: Sequence[TensorInputs]) -> TensorInputs:
    """Return one sample of the largest size: a sliding window shows only in text that is longer."""
    sizes = [sum(tensor[:1].numel() for tensor in named(batch).values()) for batch in batches]
    sample: TensorInputs = take(batches[sizes.index(max(sizes))], slice(0, 1))
    return sample


@dataclass(frozen=True, kw_only=True)
class _Called:
    """A call of a block within the model's own pass."""

    block: nn.Module
    entering: Any
    rest: Arguments
    output: Any


def _calls(model: nn.Module, blocks: Sequence[nn.Module], example: TensorInputs) -> list[_Called]:
    """Return the calls of the blocks, in order, as the model makes them."""
    calls: list[_Called] = []

    def note(block: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        entering, rest = _split(args, keywords)
        calls.append(_Called(block=block, entering=entering, rest=rest, output=output))

    handles = [block.register_forward_hook(note, with_kwargs=True) for block in blocks]
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _is_chain(calls: Sequence[_Called], blocks: list[nn.Module]) -> bool:
    """Whether the blocks are called once each, in order, with plain values and each with the output before it."""
    return (
        [call.block for call in calls] == blocks
        and all(isinstance(call.entering, torch.Tensor) and _is_plain(vars(call.rest)) for call in calls)
        and all(_is_equal(_first(before.output), after.entering) for before, after in itertools.pairwise(calls))
    )


def _is_equal(one: Any, other: torch.Tensor) -> bool:
    """Whether two outputs are the same; NaN equals NaN, since it is for the recipe to name the layer it comes from."""
    if one is other:
        return True
    if not isinstance(one, torch.Tensor) or one.shape != other.shape:
        return False
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)


def _is_plain(value: Any) -> bool:
    """Whether a call leaves a value as it was: a cache, for instance, is extended."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, torch.Tensor | torch.dtype | bool | int | float | str)


def _is_walked_alike(
    model: nn.Module, blocks: dict[str, nn.Module], example: TensorInputs, calls: Sequence[_Called]
) -> bool:
    """Whether the blocks one by one give what they gave within the model, and leave what they were given as it was."""
    try:
        chain = _entered(model, blocks, [example], calls)
    except RuntimeError:  # the model's code between the blocks needs what they compute
        return False
    states: Any = chain.inputs[0]
    with torch.inference_mode():
        for (prefix, block), call in zip(blocks.items(), calls, strict=True):
            entering = states.clone()
            output = call_block(block, states, chain.rest[prefix][0], CPU)
            if not (_is_equal(_first(call.output), output) and _is_equal(states, entering)):
                return False
            states = output
    return True


def _check_repeatable(model: nn.Module, example: TensorInputs) -> None:
    with torch.inference_mode():
        first, again = (_first(model(example)) for _ in range(2))
    if not _is_equal(first, again):
        raise OverwinterError(
            f"{type(model).__name__} gives other outputs when it is called again with the same sample, so it cannot "
            "be calibrated. Remove what draws random numbers in evaluation mode, or what it keeps between calls."
        )


def _entered(
    model: nn.Module, blocks: dict[str, nn.Module], batches: Sequence[TensorInputs], calls: Sequence[_Called]
) -> Chain:
    """Record what enters the first block, and the arguments of all; no block is computed."""
    chain = Chain(blocks=blocks, inputs=[], rest={prefix: [] for prefix in blocks})

    def passing(prefix: str, output: Any, *, first: bool, last: bool) -> Callable[..., Any]:
        def forward(*args: Any, **keywords: Any) -> Any:
            entering, rest = _split(args, keywords)
            chain.rest[prefix].append(rest)
            if first:
                chain.inputs.append(entering)
            if last:
                raise _Reached
            return type(output)([entering, *output[1:]]) if isinstance(output, tuple | list) else entering

        return forward

    end = len(blocks) - 1
    forwards = [
        (block, passing(prefix, call.output, first=place == 0, last=place == end))
        for place, ((prefix, block), call) in enumerate(zip(blocks.items(), calls, strict=True))
    ]
    with _replaced(forwards), torch.no_grad():  # no inference mode: a block may be trained on what is recorded
        for batch in batches:
            with contextlib.suppress(_Reached):
                model(batch)
    return chain


@contextlib.contextmanager
def _replaced(forwards: Sequence[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Give modules another ``forward`` within the context."""
    own = [vars(module).get("forward") for module, _ in forwards]
    try:
        for module, forward in forwards:
            vars(module)["forward"] = forward
        yield
    finally:
        for (module, _), before in zip(forwards, own, strict=True):
            vars(module).pop("forward")
            if before is not None:
                vars(module)["forward"] = before
