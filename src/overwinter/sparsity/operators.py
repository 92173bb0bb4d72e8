"""Which layers and functions treat channels one by one, and where the channels are behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import nn

from overwinter.sparsity.tracing import Step, Value

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ELEMENTWISE_LAYERS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Identity, nn.Dropout, nn.Dropout1d,
    nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
# Names of functions of torch, of torch.nn.functional and of tensors' methods, without underscores at their ends.
_ELEMENTWISE = frozenset((
    "relu", "relu6", "leaky_relu", "gelu", "silu", "mish", "elu", "celu", "selu", "hardswish", "hardsigmoid",
    "hardtanh", "sigmoid", "tanh", "softplus", "softsign", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "feature_dropout", "contiguous", "float", "half", "double", "bfloat16", "to", "type", "type_as", "clone",
    "detach", "neg", "pow", "rpow", "square", "sqrt", "rsqrt", "exp", "log", "abs", "clamp", "clip", "add", "radd",
    "iadd", "sub", "rsub", "isub", "rsubtract", "erf", "masked_fill", "where", "requires_grad",
))  # fmt: skip
GATING = frozenset(["mul", "rmul", "imul", "multiply"])
_DIVIDING = frozenset(["div", "truediv", "itruediv", "divide"])
_SPATIAL_LAYERS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d, nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d,
    nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
)  # fmt: skip
_SPATIAL = frozenset((
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "interpolate",
))  # fmt: skip
_REDUCING = frozenset(["mean", "sum", "amax", "amin"])
_RESHAPING = frozenset(["flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze"])
QUERIES = frozenset((
    "get", "size", "dim", "ndimension", "numel", "len", "is_floating_point", "is_complex", "stride", "storage_offset",
    "is_contiguous", "get_device", "element_size", "data_ptr", "hash", "nelement",
))  # fmt: skip
"""Functions that ask a tensor of something other than its values."""


class CoupledError(Exception):
    """The channels cannot be followed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where the channels are in a tensor: in which dimension, and in blocks of which length."""

    dimension: int
    block: int = 1


def is_depthwise(module: nn.Module | None) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """Return whether a layer is a convolution of each channel by itself."""
    return isinstance(module, CONVOLUTIONS) and 1 < module.groups == module.in_channels == module.out_channels


def has_entry_per_channel(module: nn.Module | None) -> bool:
    """Return whether a layer treats each channel by itself, with weights of its own for each."""
    return isinstance(module, NORMALISATIONS) or is_depthwise(module)


def is_elementwise(step: Step, module: nn.Module | None) -> bool:
    """Return whether every number of the output comes from those at the same place of the inputs."""
    if module is not None:
        return isinstance(module, _ELEMENTWISE_LAYERS)
    return step.function in _ELEMENTWISE | GATING | _DIVIDING


def moved(value: Value, step: Step, module: nn.Module | None, channels: Channels) -> Channels | None:
    """Return where the channels are behind a step that keeps them apart; None: it may mix them."""
    if len(set(step.inputs)) > 1 or len(step.outputs) != 1:
        return None
    output, last = step.outputs[0], len(value.shape) - 1
    if isinstance(module, _SPATIAL_LAYERS) or step.function in _SPATIAL:
        return channels if channels.dimension == 1 and last > 1 else None
    if isinstance(module, nn.Flatten) or step.function in _RESHAPING:
        return _reshaped(value, output, channels)
    if step.function in _REDUCING:
        return _reduced(step, value, channels)
    if step.function in ("permute", "transpose", "movedim", "swapaxes"):
        return _permuted(step, value, channels)
    if step.function == "pad":
        padded_dimensions = len(step.keywords.get("pad", step.args[1] if len(step.args) > 1 else ())) // 2
        return channels if padded_dimensions <= last - channels.dimension else None
    if step.function == "getitem":
        return _indexed(step, value, output, channels)
    return None


def _reshaped(value: Value, output: Value, channels: Channels) -> Channels | None:
    before, after = value.shape, output.shape
    if channels.dimension == 1 and list(after) == [before[0], math.prod(before[1:])]:
        return Channels(dimension=1, block=channels.block * math.prod(before[2:]))
    if channels.dimension == len(before) - 1 and after and after[-1] == before[-1]:
        return Channels(dimension=len(after) - 1, block=channels.block)
    same = channels.dimension < len(after) and before[: channels.dimension + 1] == after[: channels.dimension + 1]
    return channels if same else None  # only what lies behind the channels was reshaped


def _reduced(step: Step, value: Value, channels: Channels) -> Channels | None:
    given = step.keywords.get("dim", step.args[1] if len(step.args) > 1 else None)
    dims = [given] if isinstance(given, int) else given
    if not isinstance(dims, tuple | list):
        return None
    rank = len(value.shape)
    gone = {each % rank for each in dims}
    if channels.dimension in gone:
        return None
    keeps = len(step.outputs[0].shape) == rank
    before = 0 if keeps else sum(each < channels.dimension for each in gone)
    return Channels(dimension=channels.dimension - before, block=channels.block)


def _permuted(step: Step, value: Value, channels: Channels) -> Channels | None:
    rank, order = len(value.shape), list(range(len(value.shape)))
    numbers = _whole_numbers(step)
    if step.function == "permute" and len(numbers) == rank:
        order = [each % rank for each in numbers]
    elif step.function in ("transpose", "swapaxes") and len(numbers) == 2:
        one, other = (each % rank for each in numbers)
        order[one], order[other] = order[other], order[one]
    elif step.function == "movedim" and len(numbers) == 2:
        source, target = (each % rank for each in numbers)
        order.insert(target, order.pop(source))
    else:
        return None
    return Channels(dimension=order.index(channels.dimension), block=channels.block)


def _whole_numbers(step: Step) -> list[int]:
    found: list[int] = []
    for each in (*step.args[1:], *step.keywords.values()):
        found += each if isinstance(each, tuple | list) else [each]
    return found if all(isinstance(each, int) for each in found) else []


def _indexed(step: Step, value: Value, output: Value, channels: Channels) -> Channels | None:
    """Indices before the channels, such as that of the first token, when the channels come last."""
    index: Any = step.args[1]
    index = index if isinstance(index, tuple) else (index,)
    before = len(index) < len(value.shape) and all(isinstance(each, int | slice) for each in index)
    if not before or channels.dimension != len(value.shape) - 1:
        return None
    return Channels(dimension=len(output.shape) - 1, block=channels.block)
