"""Channel groups: the channels of one layer, and all layers that take them in.

The model is traced by `torch.fx`, in evaluation mode and in training mode. From each Linear and convolution the walk
goes forward through everything that treats channels one by one (normalisation, activation, pooling, dropout,
flattening) to the layers that mix them. What it can't follow, an addition or a concatenation for instance, couples the
layer to others: it is then left unchanged, with the reason. So is a layer whose output goes elsewhere in training
mode, as to an auxiliary head.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from overwinter.models import computed_weights, copy_module

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ELEMENTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.Hardswish, nn.Hardsigmoid,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
_ELEMENTWISE_FUNCTIONS = (
    functional.relu, functional.relu6, functional.leaky_relu, functional.gelu, functional.silu,
    functional.mish, functional.elu, functional.hardswish, functional.hardsigmoid, functional.dropout,
    torch.relu, torch.sigmoid, torch.tanh,
)  # fmt: skip
_ELEMENTWISE_METHODS = ("relu", "sigmoid", "tanh", "contiguous", "float")
_POOLING_MODULES = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)  # fmt: skip
_POOLING_FUNCTIONS = (
    functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d, functional.avg_pool2d,
    functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d,
)  # fmt: skip
_SIZE_QUERIES = ("size", "dim")


@dataclass(frozen=True, kw_only=True)
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
        producer: the layer whose outputs they are.
        count: how many it makes.
        followers: layers with an entry per channel: normalisations, depthwise convolutions.
        consumers: layers that take them in.
    """

    producer: str
    count: int
    followers: tuple[ChannelUse, ...]
    consumers: tuple[ChannelUse, ...]


class _CoupledError(Exception):
    """The channels cannot be followed; the text says why."""


def find_channel_groups(model: nn.Module, example: torch.Tensor) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of channels that can be removed, and layer name -> why others can't.

    Args:
        model: in evaluation mode; not changed.
        example: (batch, ...), on the model's device.
    """
    producers = [name for name, module in model.named_modules() if _makes_channels(module)]
    groups: list[ChannelGroup] = []
    left_alone: dict[str, str] = {}
    try:
        walk, training_walk = _walk(model, example, training=False), _walk(model, example, training=True)
    except _CoupledError as untraceable:
        return [], dict.fromkeys(producers, str(untraceable))
    for name in producers:
        try:
            group = walk.group(name)
            _refuse_other_use(group, training_walk)
            groups.append(group)
        except _CoupledError as coupled:
            left_alone[name] = str(coupled)
    return groups, left_alone


def _walk(model: nn.Module, example: torch.Tensor, *, training: bool) -> _Walk:
    """Trace a copy, since a pass in training mode moves the statistics of normalisations and draws random numbers."""
    copied = copy_module(model).train(training)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            traced = fx.symbolic_trace(copied)
            ShapeProp(traced).propagate(example)
    except Exception as error:  # tracing runs the user's code: whatever it raises is the reason
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        mode = " in training mode" if training else ""
        raise _CoupledError(f"torch.fx cannot trace the model{mode} ({reason})") from error
    return _Walk(model, traced.graph)


def _refuse_other_use(group: ChannelGroup, training_walk: _Walk) -> None:
    """Refuse a group whose channels take another way in training mode."""
    try:
        in_training = training_walk.group(group.producer)
    except _CoupledError as coupled:
        raise _CoupledError(f"in training mode, {coupled}") from None
    if in_training != group:
        here, there = ({use.layer for use in (*each.followers, *each.consumers)} for each in (group, in_training))
        others = ", ".join(sorted(here ^ there)) or "other features"
        raise _CoupledError(f"its output goes to {others} in one of training and evaluation mode only")


@dataclass(frozen=True, kw_only=True)
class _Channels:
    """Where the channels are in a tensor: in which dimension, and in blocks of which length."""

    dimension: int
    block: int = 1


class _Walk:
    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self._modules = dict(model.named_modules())
        self._calls: dict[str, fx.Node] = {}
        uses: Counter[str] = Counter()
        for node in graph.nodes:
            if node.op == "call_module":
                self._calls[node.target] = node
                uses[node.target] += 1
            elif node.op == "get_attr":
                uses[node.target.rpartition(".")[0]] += 2  # a function works on the layer's tensor directly
        owners = Counter(id(tensor) for module in self._modules.values() for tensor in _own(module))
        self._computed = computed_weights(model)
        self._shared = {name for name, count in uses.items() if count > 1}
        self._shared |= {name for name, module in self._modules.items() if any(owners[id(t)] > 1 for t in _own(module))}

    def group(self, producer: str) -> ChannelGroup:
        node = self._calls.get(producer)
        if node is None:
            raise _CoupledError("it is not called as a layer of its own")
        self._refuse_uncuttable(producer)
        module = self._modules[producer]
        if _is_depthwise(module):
            raise _CoupledError("a depthwise convolution has the channels of the layer before it")
        if isinstance(module, _CONVOLUTIONS) and module.groups != 1:
            raise _CoupledError(f"its {module.groups} groups must stay equal in size")
        dimension = _rank(node) - 1 if isinstance(module, nn.Linear) else 1
        followers: list[ChannelUse] = []
        consumers: list[ChannelUse] = []
        self._follow(node, _Channels(dimension=dimension), followers, consumers)
        if not consumers:
            raise _CoupledError("nothing consumes its output")
        count = module.weight.shape[0]
        return ChannelGroup(producer=producer, count=int(count), followers=tuple(followers), consumers=tuple(consumers))

    def _follow(
        self, node: fx.Node, channels: _Channels, followers: list[ChannelUse], consumers: list[ChannelUse]
    ) -> None:
        for user in node.users:
            if _is_size_query(user):
                continue
            if user.op == "output":
                raise _CoupledError("its output is the model's output")
            place = self._place(user, channels)
            if place is not None and self._consumes(user, channels):
                consumers.append(place)
                continue
            if place is not None:
                followers.append(place)
            self._follow(user, self._passed_on(node, user, channels), followers, consumers)

    def _place(self, user: fx.Node, channels: _Channels) -> ChannelUse | None:
        """Return the layer that ``user`` calls, if it has tensors that must be cut with the channels."""
        if user.op != "call_module" or not isinstance(
            self._modules[str(user.target)], (nn.Linear, *_CONVOLUTIONS, *_NORMALISATIONS)
        ):
            return None
        self._refuse_uncuttable(str(user.target))
        return ChannelUse(layer=str(user.target), block=channels.block)

    def _consumes(self, user: fx.Node, channels: _Channels) -> bool:
        name, module = str(user.target), self._modules[str(user.target)]
        if isinstance(module, nn.Linear):
            if channels.dimension != _rank(user) - 1:
                raise _CoupledError(f"{name} mixes another dimension than its channels")
            return True
        if not isinstance(module, _CONVOLUTIONS) or _is_depthwise(module):
            return False
        if module.groups != 1 or channels.dimension != 1:
            raise _CoupledError(f"{name} takes its channels in groups")
        return True

    def _passed_on(self, node: fx.Node, user: fx.Node, channels: _Channels) -> _Channels:
        """Return where the channels are behind ``user``, which takes them from ``node``."""
        if len(user.all_input_nodes) > 1 and not all(
            _is_size_query(each) for each in user.all_input_nodes if each is not node
        ):
            raise _CoupledError(f"its output is combined with another layer's ({_called(user, self._modules)})")
        module = self._modules[str(user.target)] if user.op == "call_module" else None
        if _matches(user, module, _ELEMENTWISE_MODULES, _ELEMENTWISE_FUNCTIONS, _ELEMENTWISE_METHODS):
            return channels
        if channels.dimension == 1 and self._is_channelwise(node, user, module):
            return channels
        if _is_reshaping(user, module) and _flattens_channels(node, user, channels):
            return _Channels(dimension=1, block=channels.block * _shape(node)[2:].numel())
        raise _CoupledError(f"its output goes through {_called(user, self._modules)}, which may mix channels")

    def _is_channelwise(self, node: fx.Node, user: fx.Node, module: nn.Module | None) -> bool:
        if isinstance(module, _NORMALISATIONS) or _is_depthwise(module):
            return True
        if _rank(node) > 2 and _matches(user, module, _POOLING_MODULES, _POOLING_FUNCTIONS, ()):
            return True
        averages = user.target is torch.mean or (user.op == "call_method" and user.target == "mean")
        return averages and _shape(user)[:2] == _shape(node)[:2]

    def _refuse_uncuttable(self, name: str) -> None:
        if name in self._shared:
            raise _CoupledError(f"{name} is used more than once")
        if name in self._computed:
            raise _CoupledError(f"{name} cannot be cut: {self._computed[name]}")


def _makes_channels(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, *_CONVOLUTIONS))


def _is_depthwise(module: nn.Module | None) -> bool:
    return isinstance(module, _CONVOLUTIONS) and 1 < module.groups == module.in_channels == module.out_channels


def _own(module: nn.Module) -> Iterator[torch.Tensor]:
    return module.parameters(recurse=False)


def _matches(
    user: fx.Node,
    module: nn.Module | None,
    modules: tuple[type[nn.Module], ...],
    functions: tuple[Callable[..., Any], ...],
    methods: tuple[str, ...],
) -> bool:
    if user.op == "call_module":
        return isinstance(module, modules)
    return user.target in (functions if user.op == "call_function" else methods)


def _is_size_query(user: fx.Node) -> bool:
    if user.op == "call_method":
        return user.target in _SIZE_QUERIES
    if user.op != "call_function":
        return False
    asks_shape = user.target is getattr and user.args[1] == "shape"
    of_size = user.target in (operator.getitem, operator.mul) and all(map(_is_size_query, user.all_input_nodes))
    return asks_shape or of_size


def _is_reshaping(user: fx.Node, module: nn.Module | None) -> bool:
    return _matches(user, module, (nn.Flatten,), (torch.flatten, torch.reshape), ("flatten", "view", "reshape"))


def _flattens_channels(node: fx.Node, user: fx.Node, channels: _Channels) -> bool:
    before, after = _shape(node), _shape(user)
    return channels.dimension == 1 and list(after) == [before[0], before[1:].numel()]


def _shape(node: fx.Node) -> torch.Size:
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    if not isinstance(shape, torch.Size):
        raise _CoupledError(f"{node.name} does not return one tensor")
    return shape


def _rank(node: fx.Node) -> int:
    return len(_shape(node))


def _called(user: fx.Node, modules: dict[str, nn.Module]) -> str:
    if user.op == "call_module":
        return f"{user.target}, a {type(modules[str(user.target)]).__name__}"
    return str(getattr(user.target, "__name__", user.target))
