"""Structured sparsity: channels, heads and hidden units are removed, and the model is really smaller."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from overwinter.data import Split
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs
from overwinter.models import (
    CausalLanguageModel,
    StepHook,
    copy_module,
    declares_own_heads,
    layer_by_layer,
    other_weights,
)
from overwinter.sparsity.channel_amounts import choose_cuts, flops_per_sample
from overwinter.sparsity.dependencies import HEADS, ChannelGroup, Place, find_channel_groups
from overwinter.sparsity.protocol import Calibration
from overwinter.sparsity.report import LayerReport, SparsityReport
from overwinter.sparsity.selection import SKIPPED, skipped
from overwinter.sparsity.settings import ChannelsConfig
from overwinter.sparsity.surgery import Cut, remove_channels, silence_channels
from overwinter.sparsity.taylor import taylor_importance

_EXAMPLES = 4
# Summing fewer terms in another order changes the last bits; relative to the largest output.
_TOLERANCE = 1e-4
_UNNAMED = "the model's configuration, from which it is written and exported, cannot name the heads that would be left"


class Channels:
    """The sparsifier ``channels``: the least important channels, heads and hidden units first."""

    def __init__(self, config: ChannelsConfig) -> None:
        self._config = config
        self._made: dict[str, Place] = {}
        self._before: dict[str, int] = {}
        self._left_alone: dict[str, str] = {}
        self._flops: tuple[int, int] | None = None
        self._calibration = Calibration()

    def calibrate_with(self, calibration: Calibration) -> None:
        """Take in the task whose loss says what channels are worth, and the seed of the samples."""
        self._calibration = calibration

    def prepare(self, model: nn.Module, train: Split) -> Sequence[StepHook]:
        """Remove channels from ``model`` in place; nothing is left to do while it is fine-tuned."""
        examples, _ = train.first(_EXAMPLES)
        dense = flops_per_sample(model, examples)
        groups = working_groups(model, self._chosen(model, examples), examples, self._left_alone)
        cuts = self._cuts(model, groups, examples, train)
        if not _declarable(model, cuts):
            heads = [group for group in groups if group.kind == HEADS]
            unnamed = {name: _UNNAMED for group in heads for name in group.producers}
            self._left_alone.update(unnamed)
            groups = [group for group in groups if group.kind != HEADS]
            cuts = self._cuts(model, groups, examples, train)
        self._made = {place.layer: place for group in groups for place in group.places if place.is_made}
        self._before = self._counted(model)
        refuse_wrong(model, cuts, examples)
        remove_channels(model, cuts)
        if isinstance(model, CausalLanguageModel):
            model.declare_sizes()
        self._flops = dense, flops_per_sample(model, examples)
        return []

    def report(self, model: nn.Module) -> SparsityReport:
        """Count the channels that ``model`` has now."""
        after = self._counted(model)
        layers = tuple(
            LayerReport(name=name, before=before, after=after[name]) for name, before in self._before.items()
        )
        return SparsityReport(
            method="channels",
            unit="channels",
            asked=self._config.amount,
            asked_of=self._config.amount_of,
            flops=self._flops,
            layers=layers,
            left_alone=dict(sorted(self._left_alone.items())),
        )

    def _cuts(
        self, model: nn.Module, groups: Sequence[ChannelGroup], examples: TensorInputs, train: Split
    ) -> list[Cut]:
        config = self._config
        return choose_cuts(
            model,
            groups,
            examples,
            amount=config.amount,
            amount_of=config.amount_of,
            ratio=config.ratio,
            multiple_of=config.multiple_of,
            scores=self._scores(model, groups, train),
        )

    def _scores(self, model: nn.Module, groups: Sequence[ChannelGroup], train: Split) -> Sequence[torch.Tensor] | None:
        """Return how important the channels of each group are; None: as their weights' norms say."""
        if self._config.importance == "magnitude":
            return None
        given = self._calibration
        if given.task is None:
            raise OverwinterError("sparsify.importance=taylor needs the task. Call calibrate_with() before prepare().")
        return taylor_importance(
            model, groups, train, given.task, samples=self._config.calibration_samples, seed=given.seed
        )

    def _counted(self, model: nn.Module) -> dict[str, int]:
        """Return layer -> how many outputs it has."""
        return {name: model.get_parameter(place.tensor).size(place.dimension) for name, place in self._made.items()}

    def _chosen(self, model: nn.Module, examples: TensorInputs) -> list[ChannelGroup]:
        """Return the groups that the settings allow; why the others stay is noted."""
        groups, left_alone = find_channel_groups(model, examples)
        found = {name for group in groups for name in group.producers}
        others = {name: why for name, why in other_weights(model).items() if name not in found}
        self._left_alone = others | left_alone
        names = [name for group in groups for name in group.producers]
        left_out = skipped([*names, *self._left_alone], self._config.skip)
        self._left_alone.update(dict.fromkeys(left_out, SKIPPED))
        return [group for group in groups if not self._spared(group, left_out)]

    def _spared(self, group: ChannelGroup, left_out: set[str]) -> bool:
        """Whether a layer of the group is to be left alone, so that the others have to stay, too."""
        spared = sorted(left_out.intersection(group.producers))
        if spared:
            others = [name for name in group.producers if name not in left_out]
            self._left_alone.update(dict.fromkeys(others, f"its output is combined with that of {spared[0]}"))
        elif group.kind not in self._config.structures:
            reason = f"sparsify.structures does not name {group.kind}"
            self._left_alone.update(dict.fromkeys(group.producers, reason))
        return bool(spared) or group.kind not in self._config.structures


def _declarable(model: nn.Module, cuts: Sequence[Cut]) -> bool:
    """Return whether a language model's configuration, which has one number of heads, can name those that stay."""
    if not isinstance(model, CausalLanguageModel) or all(cut.group.kind != HEADS for cut in cuts):
        return True
    smaller = copy_module(model)
    remove_channels(smaller, cuts)
    named = isinstance(smaller, CausalLanguageModel) and smaller.declare_sizes()
    return named or declares_own_heads(smaller)


def working_groups(
    model: nn.Module, groups: Sequence[ChannelGroup], examples: TensorInputs, left_alone: dict[str, str]
) -> list[ChannelGroup]:
    """Return the groups of which half can be removed, tried on a copy, with right outputs.

    Args:
        model: in evaluation mode; not changed.
        groups: of this model.
        examples: real samples (batch, ...).
        left_alone: gets the layers of the other groups, with the reason.
    """
    # The first channel goes: what picks one by its number mostly takes that.
    halves = {group: Cut(group=group, keep=torch.arange(1, group.count, 2)) for group in groups}
    if not groups or _trouble(model, list(halves.values()), examples) is None:
        return list(groups)
    troubles = {group: _trouble(model, [half], examples) for group, half in halves.items()}  # one of them is in the way
    for group, trouble in troubles.items():
        if trouble is not None:
            left_alone.update(dict.fromkeys(group.producers, trouble))
    return [group for group, trouble in troubles.items() if trouble is None]


def refuse_wrong(model: nn.Module, cuts: Sequence[Cut], examples: TensorInputs) -> None:
    """Refuse, before anything is removed, cuts without which the model would compute something else.

    Raises:
        OverwinterError: its outputs are not those with the same channels silent.
    """
    trouble = _trouble(model, cuts, examples) if cuts else None
    if trouble is not None:
        raise OverwinterError(f"The channels cannot be removed: {trouble}.\nName the layers in sparsify.skip.")


@torch.no_grad()
def _trouble(model: nn.Module, cuts: Sequence[Cut], examples: TensorInputs) -> str | None:
    """Return why the outputs of a copy without some channels are wrong, or None if they are right.

    In training mode, in which it will be fine-tuned, it only has to run: dropout differs from pass to pass.
    """
    silenced, smaller = copy_module(model), copy_module(model)
    silence_channels(silenced, cuts)
    remove_channels(smaller, cuts)
    with layer_by_layer():  # what torch's own encoder returns for padding is another thing in one call
        expected = silenced(examples)  # (n, ...)
    try:
        with layer_by_layer():
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
