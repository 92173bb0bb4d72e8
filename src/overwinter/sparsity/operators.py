"""What each function of torch does with the labels of its inputs: `RULES`, and `unknown` for all others.

Three kinds make up most of torch: functions of each number by itself, in which labels that meet are coupled; functions
that only move numbers, which are called on the labels themselves; and functions that mix the numbers of some
dimensions. `layer_rules` has those with weights, `attention_rules` the products of activations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from overwinter.sparsity.attention_rules import ATTENTION_RULES
from overwinter.sparsity.couplings import aligned, varying
from overwinter.sparsity.layer_rules import LAYER_RULES
from overwinter.sparsity.tracing import Call, Rule, Tracer, tensors_in

# Names of functions of torch, of torch.nn.functional and of tensors' methods, without underscores at their ends.
_ELEMENTWISE = (
    "relu", "relu6", "leaky_relu", "gelu", "silu", "mish", "elu", "celu", "selu", "hardswish", "hardsigmoid",
    "hardtanh", "sigmoid", "logsigmoid", "tanh", "softplus", "softsign", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "feature_dropout", "contiguous", "float", "half", "double", "bfloat16", "to", "type",
    "type_as", "clone", "detach", "data", "requires_grad", "neg", "pow", "rpow", "square", "sqrt", "rsqrt", "exp",
    "log", "log1p", "abs", "sign", "sin", "cos", "erf", "clamp", "clip", "reciprocal", "nan_to_num", "add", "radd",
    "iadd", "sub", "rsub", "isub", "rsubtract", "mul", "rmul", "imul", "multiply", "div", "truediv", "itruediv",
    "rdiv", "rtruediv", "divide", "lerp", "addcmul", "addcdiv", "maximum", "minimum", "where", "masked_fill",
    "zeros_like", "ones_like", "rand_like", "randn_like", "full_like", "empty_like", "bernoulli", "gt", "ge", "lt",
    "le", "eq", "ne",
)  # fmt: skip
_MOVING = (
    "flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "permute", "transpose",
    "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT", "H", "mH", "getitem", "cat", "concat", "concatenate",
    "stack", "hstack", "vstack", "split_with_sizes", "tensor_split", "unbind", "select", "narrow", "expand",
    "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile", "flip", "index_select", "gather",
    "take_along_dim",
)  # fmt: skip
_POOLING = (
    "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool",
)  # fmt: skip
_REDUCING = ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "prod", "argmax", "argmin")
_ALONG = ("softmax", "log_softmax", "softmin", "cumsum", "normalize")
_QUERIES = frozenset((
    "get", "size", "shape", "dim", "ndim", "ndimension", "numel", "len", "is_floating_point", "is_complex", "stride",
    "storage_offset", "is_contiguous", "get_device", "element_size", "data_ptr", "hash", "nelement", "dtype", "device",
    "requires_grad", "is_leaf", "grad_fn", "grad", "layout", "is_sparse", "is_quantized", "is_nested", "is_cuda",
    "is_cpu", "is_meta", "is_mkldnn", "itemsize", "nbytes", "names", "is_same_size", "has_names", "is_inference",
))  # fmt: skip
"""Functions that ask a tensor of something other than its values."""


def unknown(met: Tracer, call: Call) -> None:
    """Pin everything that goes into a function of which nothing is known."""
    if not call.outputs and call.name in _QUERIES:
        return
    reason = f"its output goes through {call}, which may mix channels"
    if not call.outputs and call.result is not None:
        reason = f"its output goes through {call}, which reads its values"
    for tensor in call.inputs:
        met.pin(tensor, reason)
    for tensor in call.outputs:
        met.give(tensor, None)


def elementwise(met: Tracer, call: Call) -> None:
    """Couple what meets in a function of each number by itself.

    Numbers from elsewhere keep their dimensions as they are: where they are one for each feature of a head, as in a
    rotation of positions, the features of a head go together.
    """
    if not call.outputs:
        return unknown(met, call)
    rank, reason = call.outputs[0].dim(), f"its output is combined with another tensor ({call})"
    inputs = [tensor for tensor in call.inputs if tensor.dim()]
    _read(met, call, inputs)
    labelled = [aligned(labels, rank) for labels in map(met.labels, inputs) if labels is not None]
    joined = labelled[0] if labelled else None
    for labels in labelled[1:]:
        joined = None if joined is None else met.couplings.join(joined, labels, reason)
    for tensor in inputs:
        if joined is not None and met.labels(tensor) is None:
            joined = met.couplings.collapse(joined, _sized(tensor, rank), reason)
    for output in call.outputs:
        met.give(output, joined)
    return None


def moving(met: Tracer, call: Call) -> None:
    """Move the labels as the function moves the numbers, by calling it on them.

    A dimension of which it picks only some places, by their numbers, stays: they would be others after a removal.
    """
    _read(met, call, call.inputs)
    moved = [_spread(met, _whole_where_picked(met, call, tensor)) for tensor in tensors_in(call.args[:1])]
    if all(labels is None for labels in moved):
        return _drop(met, call)
    filled = [
        torch.zeros(tensor.shape, dtype=torch.int64) if labels is None else labels
        for tensor, labels in zip(tensors_in(call.args[:1]), moved, strict=True)
    ]
    for output, labels in zip(call.outputs, _called_on(filled, call), strict=True):
        met.give(output, labels)
    return None


def splitting(met: Tracer, call: Call) -> None:
    """Cut a dimension into parts, which go together where they are equal, as queries, keys and values may be."""
    equal = len(call.outputs) > 1 and len({each.shape for each in call.outputs}) == 1
    return parting(met, call) if equal else moving(met, call)


def parting(met: Tracer, call: Call) -> None:
    """Couple the equal parts that a dimension is cut into: the same place of each goes."""
    _read(met, call, call.inputs)
    labels = _spread(met, call.inputs[0])
    if labels is None:
        return _drop(met, call)
    parts = _called_on([labels], call)
    if any(part.shape != parts[0].shape for part in parts):
        return unknown(met, call)
    for output, part in zip(call.outputs, parts, strict=True):
        met.couplings.couple(part, parts[0], _mixed(call))
        met.give(output, part)
    return None


def rolling(met: Tracer, call: Call) -> None:
    """Keep apart what is not moved along its own dimension."""
    tensor, given = call.inputs[0], call.argument(2, "dims", ())
    dimensions = [given] if isinstance(given, int) else given
    _mix(met, call, tensor, [each % tensor.dim() for each in dimensions] or range(tensor.dim()))


def pooling(met: Tracer, call: Call) -> None:
    """Keep channels apart in a function that mixes only the dimensions behind them."""
    tensor = call.inputs[0]
    dimensions = range(tensor.dim() - _spatial(call.name, tensor), tensor.dim())
    _mix(met, call, tensor, dimensions)


def padding(met: Tracer, call: Call) -> None:
    """Keep channels apart where only dimensions behind them are padded."""
    tensor, amounts = call.inputs[0], call.argument(1, "pad", ())
    _mix(met, call, tensor, range(tensor.dim() - len(amounts) // 2, tensor.dim()))


def along(met: Tracer, call: Call) -> None:
    """Keep apart what a function does not mix with the rest of its dimension, as softmax."""
    tensor, dimension = call.inputs[0], call.argument(2 if call.name == "normalize" else 1, "dim")
    dimension = 1 if dimension is None else dimension
    _mix(met, call, tensor, [dimension % tensor.dim()])


def reducing(met: Tracer, call: Call) -> None:
    """Keep apart what is not summed up with other channels."""
    tensor, given = call.inputs[0], call.argument(1, "dim", call.keywords.get("axis"))
    if isinstance(given, torch.Tensor):
        return elementwise(met, call)
    dimensions = range(tensor.dim()) if given is None else [given] if isinstance(given, int) else given
    gone = sorted({each % tensor.dim() for each in dimensions}, reverse=True) if tensor.dim() else []
    labels = met.labels(tensor)
    kept = None if labels is None else met.couplings.collapse(labels, gone, _mixed(call))
    for output in call.outputs:
        reduced = kept
        for dimension in gone if output.dim() < tensor.dim() and kept is not None else ():
            reduced = reduced.squeeze(dimension) if reduced is not None else None
        met.give(output, reduced)
    return None


def gating(met: Tracer, call: Call) -> None:
    """Couple the two halves of a gated linear unit."""
    labels = _spread(met, call.inputs[0])
    if labels is None:
        return _drop(met, call)
    one, other = labels.chunk(2, dim=call.argument(1, "dim", -1))
    met.couplings.couple(one, other, _mixed(call))
    met.give(call.outputs[0], one)
    return None


def _mix(met: Tracer, call: Call, tensor: torch.Tensor, dimensions: Iterable[int]) -> None:
    labels = met.labels(tensor)
    kept = None if labels is None else met.couplings.collapse(labels, dimensions, _mixed(call))
    for output in call.outputs:
        met.give(output, kept)


def _mixed(call: Call) -> str:
    return f"its output goes through {call}, which may mix channels"


def _drop(met: Tracer, call: Call) -> None:
    for output in call.outputs:
        met.give(output, None)


def _spatial(name: str, tensor: torch.Tensor) -> int:
    """Return how many of the last dimensions a pooling mixes: its name says it, or all behind the channels."""
    return int(name[-2]) if name.endswith("d") and name[-2].isdigit() else tensor.dim() - 2


def _spread(met: Tracer, tensor: torch.Tensor) -> torch.Tensor | None:
    """Return labels of the tensor's own shape."""
    labels = met.labels(tensor)
    return None if labels is None else labels.expand(tensor.shape)


def _whole_where_picked(met: Tracer, call: Call, tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor, with labels that do not change along dimensions of which the function picks some places."""
    labels = met.labels(tensor)
    if labels is None or not isinstance(call.args[0], torch.Tensor):
        return tensor
    picked = [dimension for dimension in varying(labels) if _picks(call, tensor, dimension)]
    reason = f"{call} picks some of its channels by their numbers"
    met.give(tensor, met.couplings.collapse(labels, picked, reason))
    return tensor


def _picks(call: Call, tensor: torch.Tensor, dimension: int) -> bool:
    """Return whether some output of a function has not all places of a dimension."""
    count = tensor.size(dimension)
    places = torch.arange(count).reshape([-1 if each == dimension else 1 for each in range(tensor.dim())])
    results = _called_on([places.expand(tensor.shape)], call)
    return any(int((torch.bincount(result.flatten(), minlength=count) == 0).sum()) for result in results)


def _sized(tensor: torch.Tensor, rank: int) -> list[int]:
    """Return the dimensions, counted in a tensor of some rank, along which a tensor is not broadcast."""
    return [each + rank - tensor.dim() for each in range(tensor.dim()) if tensor.size(each) > 1]


def _read(met: Tracer, call: Call, tensors: Iterable[torch.Tensor]) -> None:
    """Let a parameter that is used by itself keep its sizes; in what is made of it, it is a number like others."""
    for tensor in tensors:
        name = met.leaf(tensor)
        if name is not None:
            met.pin(tensor, f"{name} is used by {call}, too")


def _called_on(labels: list[torch.Tensor], call: Call) -> list[torch.Tensor]:
    """Return what a function makes of labels in the place of its first argument."""

    def called(given: list[torch.Tensor]) -> Any:
        first = given[0] if isinstance(call.args[0], torch.Tensor) else given
        return call.function(first, *call.args[1:], **call.keywords)

    try:
        result = called(labels)
    except RuntimeError:  # such as view(), of a layout that labels do not have
        result = called([each.contiguous() for each in labels])
    return list(tensors_in(result))


_KINDS: tuple[tuple[Iterable[str], Rule], ...] = (
    (_ELEMENTWISE, elementwise),
    (_MOVING, moving),
    ([f"{kind}{size}d" for kind in _POOLING for size in (1, 2, 3)], pooling),
    (["interpolate"], pooling),
    (["pad"], padding),
    (_ALONG, along),
    (_REDUCING, reducing),
    (["glu"], gating),
    (["chunk"], parting),
    (["split"], splitting),
    (["roll"], rolling),
)
RULES: dict[str, Rule] = {name: rule for names, rule in _KINDS for name in names} | LAYER_RULES | ATTENTION_RULES
"""Name of a function -> what it does with labels."""
