"""Structured sparsity: whole channels and hidden units are removed, and the model is really smaller."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from overwinter.data import Split
from overwinter.inputs import TensorInputs
from overwinter.models import StepHook, copy_module, other_weights
from overwinter.sparsity.dependencies import ChannelGroup, find_channel_groups
from overwinter.sparsity.report import LayerReport, SparsityReport
from overwinter.sparsity.selection import SKIPPED, skipped
from overwinter.sparsity.settings import ChannelsConfig
from overwinter.sparsity.surgery import channel_importance, keep_channels, silence_channels

_EXAMPLES = 4
# Summing fewer terms in another order changes the last bits; relative to the largest output.
_TOLERANCE = 1e-4


class Channels:
    """The sparsifier ``channels``: the same share of each layer's channels, the least important first."""

    def __init__(self, config: ChannelsConfig) -> None:
        self._config = config
        self._before: dict[str, int] = {}
        self._left_alone: dict[str, str] = {}

    def prepare(self, model: nn.Module, train: Split) -> Sequence[StepHook]:
        """Remove channels from ``model`` in place; nothing is left to do while it is fine-tuned."""
        examples, _ = train.first(_EXAMPLES)
        groups, left_alone = find_channel_groups(model, examples)
        self._left_alone = other_weights(model) | left_alone
        names = [name for group in groups for name in group.producers]
        left_out = skipped([*names, *self._left_alone], self._config.skip)
        self._left_alone.update(dict.fromkeys(left_out, SKIPPED))
        chosen = [group for group in groups if not self._spared(group, left_out)]
        if chosen and not self._remove(model, chosen, examples):  # one of them is in the way: the others go one by one
            for group in chosen:
                self._remove(model, [group], examples)
        return []

    def report(self, model: nn.Module) -> SparsityReport:
        """Count the channels that ``model`` has now."""
        layers = tuple(
            LayerReport(name=name, before=before, after=len(model.get_submodule(name).get_parameter("weight")))
            for name, before in self._before.items()
        )
        return SparsityReport(
            method="channels",
            unit="channels",
            asked=self._config.amount,
            layers=layers,
            left_alone=dict(sorted(self._left_alone.items())),
        )

    def _spared(self, group: ChannelGroup, left_out: set[str]) -> bool:
        """Whether a layer of the group is to be left alone, so that the others have to stay, too."""
        spared = sorted(left_out.intersection(group.producers))
        if spared:
            others = [name for name in group.producers if name not in left_out]
            self._left_alone.update(dict.fromkeys(others, f"its output is multiplied with that of {spared[0]}"))
        return bool(spared)

    def _remove(self, model: nn.Module, groups: Sequence[ChannelGroup], examples: TensorInputs) -> bool:
        """Remove channels of some groups in place; return whether that was right, or else leave the model alone."""
        smaller, cuts = copy_module(model), []
        for group in groups:
            kept = max(1, round(group.count * (1.0 - self._config.amount)))
            keep = channel_importance(smaller, group).topk(kept).indices.sort().values  # (kept,)
            keep_channels(smaller, group, keep)
            cuts.append((group, keep))
        trouble = _tried_out(model, smaller, cuts, examples)
        for group, keep in cuts:
            if trouble is None:
                keep_channels(model, group, keep)
                self._before.update(dict.fromkeys(group.producers, group.count))
            elif len(groups) == 1:
                self._left_alone.update(dict.fromkeys(group.producers, trouble))
        return trouble is None


@torch.no_grad()
def _tried_out(
    model: nn.Module, smaller: nn.Module, cuts: Sequence[tuple[ChannelGroup, torch.Tensor]], examples: TensorInputs
) -> str | None:
    """Return why the outputs of a copy without some channels are wrong, or None if they are right.

    In training mode, in which it will be fine-tuned, it only has to run: dropout differs from pass to pass.
    """
    silenced = copy_module(model)
    for group, keep in cuts:
        silence_channels(silenced, group, keep)
    expected = silenced(examples)  # (n, ...)
    try:
        outputs = smaller(examples)
        with torch.random.fork_rng(devices=[]):
            smaller.train()(examples)
    except Exception as error:  # noqa: BLE001 - it runs the user's code: whatever it raises is the reason
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"the model cannot be run without some of its channels ({reason})"
    if outputs.shape != expected.shape:
        return f"without some of its channels the outputs are {list(outputs.shape)}, not {list(expected.shape)}"
    difference = float((outputs.float() - expected.float()).abs().max())
    allowed = _TOLERANCE * float(expected.abs().max()) + _TOLERANCE
    if not difference <= allowed:  # NaN, too
        return f"without some of its channels the outputs differ by {difference:.3g} from what they should be"
    return None
