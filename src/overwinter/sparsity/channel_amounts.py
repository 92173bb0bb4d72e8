"""How many channels go from each group: a share of the channels, or as many as take a share of the FLOPs."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from overwinter.errors import ConfigError
from overwinter.inputs import TensorInputs, take
from overwinter.models import copy_module, layer_by_layer
from overwinter.sparsity.dependencies import HEADS, ChannelGroup
from overwinter.sparsity.surgery import Cut, channel_importance, remove_channels

_STEPS = 256  # shares that are tried when FLOPs are asked for
_CLOSE = 0.02  # of the FLOPs, by which more may go than was asked for

Kept = Callable[[float], list[int]]
"""Share -> how many channels of each group stay."""
Removed = Callable[[Sequence[int]], float]
"""How many channels of each group stay -> share of the FLOPs that goes."""


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_rest: Any, **_options: Any) -> int:
    count: int = sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]  # torch's, without types
    return count


# The CPU's own attention, which torch does not count as it counts that of GPUs.
_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def flops_per_sample(model: nn.Module, examples: TensorInputs) -> int:
    """Return the floating-point operations that torch counts for one sample, two for a product and its sum.

    Args:
        model: in evaluation mode.
        examples: real samples (batch, ...).
    """
    counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
    with layer_by_layer(), counter, torch.no_grad():
        model(take(examples, slice(1)))
    return int(counter.get_total_flops())


def choose_cuts(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    examples: TensorInputs,
    *,
    amount: float,
    amount_of: str,
    ratio: str,
    multiple_of: int,
    scores: Sequence[torch.Tensor] | None = None,
    key: str = "sparsify",
) -> list[Cut]:
    """Return what to remove from each group, the least important channels first; at least one of each stays.

    Args:
        model: not changed.
        groups: of this model.
        examples: real samples (batch, ...).
        amount: share to remove, 0 to below 1.
        amount_of: ``channels``, or ``flops``, of which as few channels go as take the share.
        ratio: ``uniform`` takes the same share of every group; ``global`` ranks all channels together, each against
            the mean of its group.
        multiple_of: the number of channels that stay is a multiple of it where it was one.
        scores: of each group, how important its channels are, (channels,); None: by the norms of their weights.
        key: of these settings, for messages.

    Raises:
        ConfigError: all that can be removed does not take the share of the FLOPs.
    """
    ranks = [channel_importance(model, group) for group in groups] if scores is None else scores
    kept = _kept(groups, ranks, ratio, multiple_of)

    def cuts(counts: Sequence[int]) -> list[Cut]:
        return [
            Cut(group=group, keep=score.topk(count).indices.sort().values)
            for group, score, count in zip(groups, ranks, counts, strict=True)
        ]

    if amount_of == "channels":
        return cuts(kept(amount))
    dense = flops_per_sample(model, examples)

    def removed(counts: Sequence[int]) -> float:
        smaller = copy_module(model)
        remove_channels(smaller, cuts(counts))
        return 1.0 - flops_per_sample(smaller, examples) / dense

    counts = _counts_for(kept, removed, amount, key)
    return cuts(_spared(counts, groups, multiple_of, removed, amount))


def _kept(groups: Sequence[ChannelGroup], scores: Sequence[torch.Tensor], ratio: str, multiple_of: int) -> Kept:
    relative = [score / score.mean().clamp_min(torch.finfo(score.dtype).tiny) for score in scores]
    ranked = torch.cat([torch.empty(0), *relative]).sort().values

    def uniform(share: float) -> list[int]:
        return [_rounded(group, group.count * (1.0 - share), multiple_of) for group in groups]

    def together(share: float) -> list[int]:
        removed = round(share * len(ranked))
        least = ranked[removed] if removed < len(ranked) else torch.tensor(torch.inf)
        stays = [int((score >= least).sum()) for score in relative]
        return [_rounded(group, count, multiple_of) for group, count in zip(groups, stays, strict=True)]

    choices: Mapping[str, Kept] = {"uniform": uniform, "global": together}
    return choices[ratio]


def _rounded(group: ChannelGroup, kept: float, multiple_of: int) -> int:
    step = _step(group, multiple_of)
    return min(group.count, max(step, round(kept / step) * step))


def _step(group: ChannelGroup, multiple_of: int) -> int:
    return multiple_of if group.kind != HEADS and group.count % multiple_of == 0 else 1


def _counts_for(kept: Kept, removed: Removed, amount: float, key: str) -> list[int]:
    """Return how many channels stay with the smallest share of channels whose removal takes a share of the FLOPs."""
    most = removed(kept(1.0))
    if most < amount:
        raise ConfigError(
            f"{key}.amount: {amount:.3g} of the FLOPs cannot be removed; without every channel, head and neuron that "
            f"can go, it is {most:.3g}. Lower it, or leave fewer layers out."
        )
    low, high = -1, _STEPS  # too few, and enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if removed(kept(middle / _STEPS)) >= amount else (middle, high)
    return kept(high / _STEPS)


def _spared(
    counts: list[int], groups: Sequence[ChannelGroup], multiple_of: int, removed: Removed, amount: float
) -> list[int]:
    """Let groups keep what need not go: rounded to a multiple, the numbers of several jump with one share."""
    for index, group in enumerate(groups):
        if removed(counts) <= amount + _CLOSE:
            break
        options = [
            [*counts[:index], more, *counts[index + 1 :]]
            for more in range(counts[index], group.count + 1, _step(group, multiple_of))
        ]
        counts = options[bisect.bisect(options, -amount, key=lambda one: -removed(one)) - 1]
    return counts
