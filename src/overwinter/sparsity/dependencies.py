"""Channel groups: the channels of some layers, and all layers that take them in.

The model computes a few real samples, in evaluation mode and in training mode, and is recorded (`tracing`). From each
Linear and convolution the walk goes forward through everything that treats channels one by one (normalisation,
activation, pooling, dropout, flattening) to the layers that mix them. Where channels are multiplied by as many others,
as by the gate of a squeeze-and-excitation block or of a gated feed-forward layer, the layers that make those join the
group. What it can't follow, an addition or a concatenation for instance, couples the layer to others: it is then left
unchanged, with the reason. So is a layer whose output goes elsewhere in training mode, as to an auxiliary head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from overwinter.inputs import TensorInputs
from overwinter.models import computed_weights, copy_module
from overwinter.sparsity import operators
from overwinter.sparsity.operators import Channels, CoupledError
from overwinter.sparsity.tracing import Step, Trace, Value, trace

_CONVOLUTIONS = operators.CONVOLUTIONS
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True, order=True)
class ChannelUse:
    """A layer that meets the channels.

    Attributes:
        layer: its name.
        block: neighbouring features that belong to one channel: 1, or more behind a flattening.
    """

    layer: str
    block: int


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels that can only be removed everywhere at once.

    Attributes:
        producers: the layers whose outputs they are: one, or several whose outputs are multiplied with each other.
        count: how many each of them makes.
        followers: layers with an entry per channel: normalisations, depthwise convolutions.
        consumers: layers that take them in.
    """

    producers: tuple[str, ...]
    count: int
    followers: tuple[ChannelUse, ...]
    consumers: tuple[ChannelUse, ...]

    @property
    def name(self) -> str:
        """The first producer's name."""
        return self.producers[0]


def find_channel_groups(model: nn.Module, examples: TensorInputs) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of channels that can be removed, and layer name -> why others can't.

    Args:
        model: in evaluation mode; not changed.
        examples: real samples (batch, ...), on the model's device.
    """
    producers = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, *_CONVOLUTIONS))]
    left_alone = {
        name: f"the output channels of a {type(module).__name__} are not removed"
        for name, module in model.named_modules()
        if isinstance(module, _TRANSPOSED)
    }
    try:
        here, there = (_traced(model, examples, training=training) for training in (False, True))
    except CoupledError as broken:
        return [], left_alone | dict.fromkeys(producers, str(broken))
    groups: dict[tuple[str, ...], ChannelGroup] = {}
    for name in producers:
        try:
            group = _Walk(model, here).group(name)
            _refuse_other_use(group, model, there)
            groups.setdefault(group.producers, group)
        except CoupledError as coupled:
            left_alone[name] = str(coupled)
    found = {name for group in groups.values() for name in group.producers}
    return list(groups.values()), {name: reason for name, reason in left_alone.items() if name not in found}


def _traced(model: nn.Module, examples: TensorInputs, *, training: bool) -> Trace:
    """Record a copy, since a pass in training mode moves the statistics of normalisations and draws random numbers."""
    copied = copy_module(model).train(training)
    try:
        with torch.random.fork_rng(devices=[]):
            return trace(copied, examples)
    except Exception as error:  # it runs the user's code: whatever it raises is the reason
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        mode = "training" if training else "evaluation"
        raise CoupledError(f"the model cannot be run in {mode} mode ({reason})") from error


def _refuse_other_use(group: ChannelGroup, model: nn.Module, training: Trace) -> None:
    """Refuse a group whose channels take another way in training mode."""
    try:
        in_training = _Walk(model, training).group(group.name)
    except CoupledError as coupled:
        raise CoupledError(f"in training mode, {coupled}") from None
    if in_training != group:
        here, there = ({use.layer for use in (*each.followers, *each.consumers)} for each in (group, in_training))
        others = ", ".join(sorted(here ^ there)) or "other features"
        raise CoupledError(f"its output goes to {others} in one of training and evaluation mode only")


class _Walk:
    """A walk from one layer through a trace."""

    def __init__(self, model: nn.Module, recorded: Trace) -> None:
        self._modules, self._trace = dict(model.named_modules()), recorded
        self._computed = computed_weights(model)
        self._shared = _shared_layers(self._modules) | recorded.read
        self._shared |= {name for name, calls in recorded.calls.items() if calls > 1}
        self._calls = {step.layer: step for step in recorded.steps if step.layer is not None}
        self._placed: dict[Value, Channels] = {}
        self._producers: list[str] = []
        self._pending: list[Value] = []
        self._combined: dict[Step, None] = {}
        self._followers: set[ChannelUse] = set()
        self._consumers: set[ChannelUse] = set()

    def group(self, producer: str) -> ChannelGroup:
        """Return the group of a layer's output channels.

        Raises:
            CoupledError: they cannot be removed; the text says why.
        """
        self._start(producer)
        while self._pending:
            value = self._pending.pop()
            if value in self._trace.outputs:
                raise CoupledError("its output is the model's output")
            for step in self._trace.users.get(value, ()):
                self._meet(value, step)
        for step in self._combined:
            self._check_combination(step)
        if not self._consumers:
            raise CoupledError("nothing consumes its output")
        return ChannelGroup(
            producers=tuple(name for name in self._modules if name in self._producers),
            count=self._count(producer),
            followers=tuple(sorted(self._followers)),
            consumers=tuple(sorted(self._consumers)),
        )

    def _start(self, producer: str) -> None:
        step = self._calls.get(producer)
        if step is None:
            raise CoupledError("it is not called as a layer of its own")
        self._refuse_uncuttable(producer)
        module = self._modules[producer]
        if operators.is_depthwise(module):
            raise CoupledError("a depthwise convolution has the channels of the layer before it")
        if isinstance(module, _CONVOLUTIONS) and module.groups != 1:
            raise CoupledError(f"its {module.groups} groups must stay equal in size")
        (output,) = step.outputs
        dimension = len(output.shape) - 1 if isinstance(module, nn.Linear) else 1
        self._producers.append(producer)
        self._place(output, Channels(dimension=dimension))

    def _count(self, producer: str) -> int:
        return len(self._modules[producer].get_parameter("weight"))

    def _place(self, value: Value, channels: Channels) -> None:
        if self._placed.setdefault(value, channels) != channels:
            raise CoupledError("its channels lie in two dimensions of one tensor")
        self._pending.append(value)

    def _meet(self, value: Value, step: Step) -> None:
        channels, module = self._placed[value], self._modules.get(step.layer or "") if step.layer else None
        if not step.outputs:
            if step.function in operators.QUERIES:
                return
            raise CoupledError(f"its output goes through {self._called(step)}, which reads its values")
        if step in self._combined:
            return
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS, *operators.NORMALISATIONS)):
            self._meet_layer(str(step.layer), module, value, step)
        elif operators.is_elementwise(step, module):
            self._meet_elementwise(value, step)
        else:
            moved = operators.moved(value, step, module, channels)
            if moved is None:
                raise CoupledError(self._mixed(value, step))
            self._place(step.outputs[0], moved)

    def _meet_layer(self, name: str, module: nn.Module, value: Value, step: Step) -> None:
        channels = self._placed[value]
        self._refuse_uncuttable(name)
        use = ChannelUse(layer=name, block=channels.block)
        last = len(value.shape) - 1
        if isinstance(module, nn.Linear):
            if channels.dimension != last:
                raise CoupledError(f"{name} mixes another dimension than its channels")
            self._consumers.add(use)
        elif channels.dimension != 1:
            raise CoupledError(f"{name} mixes another dimension than its channels")
        elif operators.has_entry_per_channel(module):
            self._followers.add(use)
            self._place(step.outputs[0], channels)
        elif module.groups != 1:
            raise CoupledError(f"{name} takes its channels in groups")
        else:
            self._consumers.add(use)

    def _meet_elementwise(self, value: Value, step: Step) -> None:
        """Go on behind a function of each number by itself; whatever else it takes is checked in the end."""
        channels, output = self._placed[value], step.outputs[0]
        from_end = channels.dimension - len(value.shape)
        if len(step.inputs) > 1:
            self._combined[step] = None
            if step.function in operators.GATING:
                for other in step.inputs:
                    self._join(other, from_end, value.shape[from_end])
        self._place(output, Channels(dimension=len(output.shape) + from_end, block=channels.block))

    def _join(self, value: Value, from_end: int, count: int) -> None:
        """Let the layers that make a gate's channels join the group, if there are any."""
        if value in self._placed or len(value.shape) < -from_end or value.shape[from_end] != count:
            return
        step = self._trace.makers.get(value)
        if step is None:
            return
        module = self._modules[step.layer] if step.layer is not None else None
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS)) and not operators.is_depthwise(module):
            self._start(str(step.layer))
        elif operators.is_elementwise(step, module) or operators.has_entry_per_channel(module):
            for each in step.inputs:
                self._join(each, from_end, count)

    def _check_combination(self, step: Step) -> None:
        """Refuse numbers from elsewhere, unless they are the same for all channels."""
        (placed, *_) = (each for each in step.inputs if each in self._placed)
        channels = self._placed[placed]
        from_end = channels.dimension - len(placed.shape)
        for other in step.inputs:
            if len(other.shape) < -from_end or (other.shape[from_end] == 1 and other not in self._placed):
                continue
            here = self._placed.get(other)
            if here is None or (here.dimension - len(other.shape), here.block) != (from_end, channels.block):
                raise CoupledError(f"its output is combined with another layer's ({self._called(step)})")

    def _refuse_uncuttable(self, name: str) -> None:
        if name in self._computed:
            raise CoupledError(f"{name} cannot be cut: {self._computed[name]}")
        if name in self._shared:
            raise CoupledError(f"{name} is used more than once")

    def _mixed(self, value: Value, step: Step) -> str:
        if any(other is not value and other in self._trace.makers for other in step.inputs):
            return f"its output is combined with another layer's ({self._called(step)})"
        return f"its output goes through {self._called(step)}, which may mix channels"

    def _called(self, step: Step) -> str:
        if step.layer is not None:
            return f"{step.layer}, a {type(self._modules[step.layer]).__name__}"
        return step.function


def _shared_layers(modules: dict[str, nn.Module]) -> set[str]:
    """Return the layers with a parameter that another layer has too."""
    owners: dict[int, int] = {}
    for module in modules.values():
        for own in module.parameters(recurse=False):
            owners[id(own)] = owners.get(id(own), 0) + 1
    return {
        name for name, module in modules.items() if any(owners[id(own)] > 1 for own in module.parameters(recurse=False))
    }
