"""Channel groups: channels, hidden units or heads that can be removed, each with every entry that belongs to it.

The model computes a few real samples, in evaluation mode and in training mode, and every entry of its parameters is
followed through what torch is asked to compute (`tracing`, `operators`). Entries that meet belong together, through
residual additions, concatenations, gates, normalisations, grouped and depthwise convolutions, shared layers and the
heads of attention. What goes through a function that may mix channels stays, with the reason; nothing unknown is taken
for harmless.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.inputs import TensorInputs
from overwinter.models import computed_weights, copy_module, is_conv1d, is_resizable
from overwinter.sparsity.operators import RULES, unknown
from overwinter.sparsity.tracing import MAKES, TAKES, Marks, trace

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CHANNELS, NEURONS, HEADS = "channels", "neurons", "heads"
"""What is removed: outputs of convolutions, of Linear layers, or what attention treats as a head."""

_MULTI_HEAD = "its heads stay: it is of a class of its own, or has several weights, added biases or added zeros"


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """The entries of one tensor that belong to the channels of a group.

    Attributes:
        tensor: name of the parameter or buffer.
        dimension: along which they lie.
        roles: what the dimension does with channels: ``makes``, ``takes``, ``follows``.
        indices: (channels, entries of each).
    """

    tensor: str
    dimension: int
    roles: frozenset[str]
    indices: torch.Tensor

    @property
    def layer(self) -> str:
        """Name of the layer that has the tensor."""
        return self.tensor.rpartition(".")[0]

    @property
    def is_made(self) -> bool:
        """Whether a layer makes the channels with it."""
        return MAKES in self.roles


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelGroup:
    """Channels of which any can be removed, each from all places at once.

    Attributes:
        kind: ``channels``, ``neurons`` or ``heads``.
        count: how many there are.
        places: where they are.
    """

    kind: str
    count: int
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """The first layer that makes them."""
        return self.producers[0]

    @property
    def producers(self) -> tuple[str, ...]:
        """The layers whose outputs they are."""
        return tuple(dict.fromkeys(place.layer for place in self.places if place.is_made))


def find_channel_groups(model: nn.Module, examples: TensorInputs) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of channels that can be removed, and layer name -> why others can't.

    Args:
        model: in evaluation mode; not changed.
        examples: real samples (batch, ...), on the model's device.
    """
    producers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.MultiheadAttention, *_CONVOLUTIONS)) or is_conv1d(module)
    ]
    marks = Marks()
    for training in (False, True):
        trouble = _traced(model, examples, marks, training=training)
        if trouble is not None:
            return [], dict.fromkeys(producers, trouble)
    for (tensor, _), labels in marks.labels.items():
        if tensor in marks.whole:
            marks.couplings.pin(labels, marks.whole[tensor])
    numbers, reasons = marks.couplings.components()
    groups = _grouped(model, marks, numbers, reasons)
    found = {name for group in groups for name in group.producers}
    computed = computed_weights(model)
    left_alone = {
        name: f"{name} cannot be cut: {computed[name]}"
        if name in computed
        else _why(model, name, marks, numbers, reasons)
        for name in producers
        if name not in found
    }
    return groups, left_alone


def _traced(model: nn.Module, examples: TensorInputs, marks: Marks, *, training: bool) -> str | None:
    """Trace a copy, since a pass in training mode moves the statistics of normalisations and draws random numbers.

    Returns:
        why it cannot be run, or None.
    """
    copied = copy_module(model).train(training)
    try:
        with torch.random.fork_rng(devices=[]):
            trace(copied, examples, marks, RULES, unknown)
    except Exception as error:  # noqa: BLE001 - it runs the user's code: whatever it raises is the reason
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"the model cannot be run in {'training' if training else 'evaluation'} mode ({reason})"
    return None


def _grouped(model: nn.Module, marks: Marks, numbers: torch.Tensor, reasons: Mapping[int, str]) -> list[ChannelGroup]:
    """Return the channels that lie in the same places as a group each, in the model's order."""
    entries: dict[int, dict[tuple[str, int], list[int]]] = defaultdict(dict)
    for key, labels in marks.labels.items():
        for index, number in enumerate(numbers[labels].tolist()):
            if number not in reasons:
                entries[number].setdefault(key, []).append(index)
    alike: dict[tuple[tuple[tuple[str, int], int], ...], list[int]] = defaultdict(list)
    for number, places in entries.items():
        roles = set().union(*(marks.roles[key] for key in places))
        if {MAKES, TAKES} <= roles:
            alike[tuple((key, len(indices)) for key, indices in places.items())].append(number)
    heads = {number for labels in marks.heads for number in numbers[labels.flatten()].tolist()}
    groups = [
        ChannelGroup(
            kind=HEADS if members[0] in heads else _kind(model, [tensor for (tensor, _), _ in signature]),
            count=len(members),
            places=tuple(
                Place(
                    tensor=tensor,
                    dimension=dimension,
                    roles=frozenset(marks.roles[tensor, dimension]),
                    indices=torch.tensor([entries[number][tensor, dimension] for number in members]),
                )
                for (tensor, dimension), _ in signature
            ),
        )
        for signature, members in alike.items()
        if len(members) > 1
    ]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return sorted(groups, key=lambda group: min(order[name] for name in group.producers))


def _kind(model: nn.Module, tensors: list[str]) -> str:
    convolved = any(isinstance(model.get_submodule(name.rpartition(".")[0]), _CONVOLUTIONS) for name in tensors)
    return CHANNELS if convolved else NEURONS


def _why(model: nn.Module, layer: str, marks: Marks, numbers: torch.Tensor, reasons: Mapping[int, str]) -> str:
    """Return why no output of a layer can be removed."""
    owner = model.get_submodule(layer)
    if isinstance(owner, nn.MultiheadAttention) and not is_resizable(owner):
        return _MULTI_HEAD
    attends = isinstance(owner, nn.MultiheadAttention)
    shared = _first_name(model, owner.get_parameter("in_proj_weight" if attends else "weight"))
    made = [
        labels
        for (tensor, dimension), labels in marks.labels.items()
        if tensor == shared and MAKES in marks.roles[tensor, dimension]
    ]
    if not made:
        depthwise = any(tensor == shared for tensor, _ in marks.labels)
        return "it has the channels of the layer before it" if depthwise else "it is not called as a layer of its own"
    members = numbers[torch.cat(made)].tolist()
    for number in members:
        if number in reasons:
            return reasons[number]
    if len(set(members)) == 1:
        return "all its outputs belong to one channel or head: nothing would be left"
    return "nothing consumes its output"


def _first_name(model: nn.Module, parameter: nn.Parameter) -> str:
    return next(name for name, each in model.named_parameters() if each is parameter)
