"""What functions with weights do with labels: linear layers, convolutions, normalisations, embeddings."""

from __future__ import annotations

from typing import Any

import torch

from overwinter.sparsity.couplings import Labels, varying
from overwinter.sparsity.tracing import FOLLOWS, MAKES, TAKES, Call, Rule, Tracer


def linear(met: Tracer, call: Call) -> None:
    """Take features in along the weight's second dimension, make others along its first."""
    tensor, weight, bias = (call.argument(place, name) for place, name in enumerate(("input", "weight", "bias")))
    if met.leaf(weight) is None:
        return _refuse(met, call, f"{call.where} cannot be cut: its weight is computed from other tensors")
    return _features(met, call, tensor, weight, bias, made_along=0)


def addmm(met: Tracer, call: Call) -> None:
    """Take features in along the weight's first dimension, make others along its second, as `Conv1D` does."""
    bias, tensor, weight = (call.argument(place, name) for place, name in enumerate(("input", "mat1", "mat2")))
    if met.leaf(weight) is None:
        return _refuse(met, call, f"its output goes through {call}, which mixes its channels")
    return _features(met, call, tensor, weight, bias, made_along=1)


def _features(met: Tracer, call: Call, tensor: Any, weight: Any, bias: Any, *, made_along: int) -> None:
    """Take the features of a tensor's last dimension in, and make others."""
    name, output, last = str(met.leaf(weight)), call.outputs[0], tensor.dim() - 1
    made = met.mark(name, made_along, weight.size(made_along), MAKES)
    taken = met.mark(name, 1 - made_along, weight.size(1 - made_along), TAKES)
    labels = met.labels(tensor)
    if labels is not None and last in varying(labels) and len(varying(labels)) > 1:
        kept = met.couplings.collapse(labels, [last], "")  # the same layer for each head
        met.couplings.pin(made, f"{call.where} is applied to each of several channels")
        return met.give(output, kept)
    labels = _only_along(met, tensor, last, call)
    if labels is None:
        met.couplings.pin(taken, f"{call.where} takes in what stays")
    else:
        met.couplings.couple(labels, taken, "")
    _add_bias(met, bias, made)
    return met.give(output, _along(made, output.dim() - 1, output.dim()))


def convolution(met: Tracer, call: Call) -> None:
    """Take channels in and make others, each by itself in a depthwise one, or in equal groups."""
    tensor, weight = call.argument(0, "input"), call.argument(1, "weight")
    bias, transposed = call.argument(2, "bias"), "transpose" in call.name
    name, channels = met.leaf(weight), tensor.dim() - weight.dim() + 1
    if name is None:
        return _refuse(met, call, f"{call.where} cannot be cut: its weight is computed from other tensors")
    labels = _only_along(met, tensor, channels, call)
    groups = int(call.argument(6, "groups", 1))
    if transposed and groups > 1:
        return _refuse(met, call, f"{call.where} takes its channels in groups")
    made = met.mark(name, int(transposed), weight.size(int(transposed)), MAKES)
    if groups > 1 and groups == tensor.size(channels):
        _couple_each(met, labels, made, groups, call)
    else:
        taken = met.mark(name, int(not transposed), weight.size(int(not transposed)), TAKES)
        if labels is None:
            met.couplings.pin(taken, f"{call.where} takes in what stays")
        else:  # the same place in every group goes together, so that they stay equal in size
            met.couplings.couple(labels.view(groups, -1), taken, "")
        met.couplings.couple(made.view(groups, -1), made.view(groups, -1)[0], "")
    _add_bias(met, bias, made)
    met.give(call.outputs[0], _along(made, channels, call.outputs[0].dim()))
    return None


def batch_norm(met: Tracer, call: Call) -> None:
    """Scale each channel by entries of its own."""
    tensor = call.inputs[0]
    labels = _only_along(met, tensor, 1, call)
    names = ("running_mean", "running_var", "weight", "bias")
    for own in (call.argument(place, name) for place, name in enumerate(names, start=1)):
        if labels is not None and own is not None:
            _follow(met, own, labels, call)
    met.give(call.outputs[0], None if labels is None else _along(labels, 1, tensor.dim()))


def layer_norm(met: Tracer, call: Call) -> None:
    """Mix all features of the last dimensions: only what other layers distinguish can go."""
    tensor, shape = call.inputs[0], call.argument(1, "normalized_shape", ())
    labels, dimensions = met.labels(tensor), range(tensor.dim() - len(shape), tensor.dim())
    reason = f"its output goes through {call}, which mixes its channels"
    kept = None if labels is None else met.couplings.collapse(labels, dimensions, reason)
    met.give(call.outputs[0], kept)


def embedding(met: Tracer, call: Call) -> None:
    """Make the features of each token."""
    weight = call.argument(1, "weight")
    name, output = met.leaf(weight), call.outputs[0]
    if name is None:
        return met.give(output, None)
    return met.give(output, _along(met.mark(name, 1, weight.size(1), MAKES), output.dim() - 1, output.dim()))


def _only_along(met: Tracer, tensor: torch.Tensor, dimension: int, call: Call) -> torch.Tensor | None:
    """Return the labels (entries,) of a tensor along one dimension; those along any other stay."""
    labels = met.labels(tensor)
    if labels is not None and varying(labels) != {dimension}:
        met.couplings.pin(labels, f"{call} mixes another dimension than its channels")
        labels = None
    return None if labels is None else labels.flatten()


def _couple_each(met: Tracer, labels: torch.Tensor | None, made: torch.Tensor, groups: int, call: Call) -> None:
    """Couple every channel with those that a depthwise convolution makes of it."""
    reason = f"{call.where}, a depthwise convolution, has a channel for each of its input, which stay"
    together = made.view(groups, -1)  # (channels, made of each)
    if labels is None:
        met.couplings.pin(made, reason)
    else:
        met.couplings.couple(labels[:, None], together, reason)


def _add_bias(met: Tracer, bias: Any, made: torch.Tensor) -> None:
    name = met.leaf(bias)
    if name is not None:
        met.couplings.couple(made, met.mark(name, 0, len(made), FOLLOWS), "")
    elif bias is not None:
        met.couplings.pin(made, "its bias is computed from other tensors")


def _follow(met: Tracer, own: torch.Tensor, labels: torch.Tensor, call: Call) -> None:
    name = met.leaf(own)
    if name is None:
        met.couplings.pin(labels, f"its output meets a computed tensor in {call}")
    else:
        met.couplings.couple(labels, met.mark(name, 0, len(labels), FOLLOWS), "")


def _along(labels: torch.Tensor, dimension: int, rank: int) -> Labels:
    return labels.reshape([-1 if each == dimension else 1 for each in range(rank)])


def _refuse(met: Tracer, call: Call, reason: str) -> None:
    for tensor in call.inputs:
        met.pin(tensor, reason)
    met.give(call.outputs[0], None)


LAYER_RULES: dict[str, Rule] = {
    "linear": linear,
    "addmm": addmm,
    **{f"conv{size}d": convolution for size in (1, 2, 3)},
    **{f"conv_transpose{size}d": convolution for size in (1, 2, 3)},
    "batch_norm": batch_norm,
    "instance_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "embedding": embedding,
}
"""Name of a function -> what it does with labels."""
