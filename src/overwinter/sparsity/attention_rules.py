"""What products of activations do with labels: where a dimension counts heads, the features of a head go together.

In grouped-query attention, keys and values are repeated for several heads of queries, and with them their labels: a
head of keys and values, and all heads of queries that read it, so become one.
"""

from __future__ import annotations

from typing import Any

import torch

from overwinter.sparsity.couplings import Labels, aligned, varying
from overwinter.sparsity.tracing import FOLLOWS, MAKES, TAKES, Call, Rule, Tracer


def product(met: Tracer, call: Call) -> None:
    """Multiply matrices (..., n, k) and (..., k, m): of queries and keys, or of scores and values."""
    one, other = call.inputs[:2]
    output, reason = call.outputs[0], f"its output is multiplied with another tensor ({call})"
    if min(one.dim(), other.dim()) < 2:
        return _refuse(met, call, reason)
    rank = output.dim()
    heads = _heads(met, [(one, rank), (other, rank)], reason)
    values = met.labels(other)
    if heads is not None:
        own = None if values is None else aligned(values, rank)
        return met.give(output, _of_values(own, heads))
    return _without_heads(met, call, reason)


def scaled_dot_product(met: Tracer, call: Call) -> None:
    """Attend: heads are counted by a dimension, or there is but one, whose features stay in queries and keys."""
    query, key, value = call.argument(0, "query"), call.argument(1, "key"), call.argument(2, "value")
    reason, rank = f"its output goes through {call}, whose scale depends on its size", query.dim()
    repeated = 1 if rank < 4 else query.size(-3) // key.size(-3)
    tensors = [(query, 1), (key, repeated), (value, repeated)]
    reps = [_head_labels(met, tensor, rank, reason, times) for tensor, times in tensors]
    heads = _coupled(met, reps, [tensor.size(-3) * times if rank > 2 else 1 for tensor, times in tensors], reason)
    own = met.labels(value)
    if heads is None:
        for tensor in (query, key):
            met.pin(tensor, reason)
        return met.give(call.outputs[0], own)
    spread = None if own is None else _repeated(own, repeated, value.size(-3))
    return met.give(call.outputs[0], _of_values(spread, heads))


def multi_head(met: Tracer, call: Call) -> None:
    """Attend with torch's own layer, which has the weights of queries, keys and values in one."""
    _, _, _, _, count, weight, bias, key_bias = call.args[:8]
    projection, projection_bias = call.argument(11, "out_proj_weight"), call.argument(12, "out_proj_bias")
    if key_bias is not None or call.argument(9, "add_zero_attn") or call.keywords.get("use_separate_proj_weight"):
        return _refuse(met, call, f"{call.where} has separate weights for queries, keys and values, or an added key")
    return _packed(met, call, count, (weight, bias), (projection, projection_bias))


def fewer_heads(met: Tracer, call: Call) -> None:
    """Attend with what is left of torch's own layer, whose heads are narrower than its input."""
    return _packed(met, call, *call.args[3:6])


def _packed(met: Tracer, call: Call, count: int, inward: tuple[Any, Any], outward: tuple[torch.Tensor, Any]) -> None:
    """Attend with one weight for queries, keys and values."""
    (weight, bias), (projection, projection_bias) = inward, outward
    names = met.leaf(weight), met.leaf(projection)
    if None in names:
        return _refuse(met, call, f"{call.where} cannot be cut: its weight is computed from other tensors")
    made = met.mark(str(names[0]), 0, len(weight), MAKES)
    heads = made.view(3, count, -1)[0, :, 0]  # (heads,)
    met.couplings.couple(made.view(3, count, -1), heads[None, :, None], "")
    taken = met.mark(str(names[1]), 1, projection.size(1), TAKES)
    met.couplings.couple(taken.view(count, -1), heads[:, None], "")
    if bias is not None:
        met.couplings.couple(met.mark(str(met.leaf(bias)), 0, len(weight), FOLLOWS), made, "")
    met.marks.heads.append(heads)
    for tensor in call.args[:3]:
        met.pin(tensor, f"its output goes through {call}, which takes all features in")
    met.couplings.pin(met.mark(str(names[0]), 1, weight.size(1), TAKES), "")
    outputs = met.mark(str(names[1]), 0, len(projection), MAKES)
    met.couplings.pin(outputs, f"{call.where} makes as many features as it takes in")
    if projection_bias is not None:
        met.couplings.couple(met.mark(str(met.leaf(projection_bias)), 0, len(outputs), FOLLOWS), outputs, "")
    return met.give(call.outputs[0], None)


def _heads(met: Tracer, tensors: list[tuple[torch.Tensor, int]], reason: str) -> Labels | None:
    reps = [_head_labels(met, tensor, rank, reason, 1) for tensor, rank in tensors]
    return _coupled(met, reps, [_batch(tensor) for tensor, _ in tensors], reason)


def _batch(tensor: torch.Tensor) -> int:
    return tensor.size(-3) if tensor.dim() > 2 else 1


def _head_labels(met: Tracer, tensor: torch.Tensor, rank: int, reason: str, times: int) -> Labels | None:
    """Return the labels of a tensor's heads, (..., heads, 1, 1); None: no dimension before the last two has any."""
    labels = met.labels(tensor)
    if labels is None or not varying(labels).intersection(range(tensor.dim() - 2)):
        return None
    kept = met.couplings.collapse(labels, (tensor.dim() - 2, tensor.dim() - 1), reason)
    return None if kept is None else aligned(_repeated(kept, times, _batch(tensor)), rank)


def _repeated(labels: Labels, times: int, count: int) -> Labels:
    if times == 1 or labels.size(-3) != count:
        return labels
    return labels.repeat_interleave(times, dim=-3)


def _coupled(met: Tracer, reps: list[Labels | None], counts: list[int], reason: str) -> Labels | None:
    """Couple the heads of all operands; one that has as many, but no labels, keeps them."""
    found = [each for each in reps if each is not None]
    if not found:
        return None
    for each in found[1:]:
        met.couplings.couple(each, found[0], reason)
    if any(each is None and count > 1 for each, count in zip(reps, counts, strict=True)):
        met.couplings.pin(found[0], reason)
    met.marks.heads.append(found[0])
    return found[0]


def _of_values(values: Labels | None, heads: Labels) -> Labels:
    """Return the labels of what is read from values (..., heads, tokens, features): theirs, or the heads'."""
    if values is None or not varying(values) >= varying(heads):
        return heads
    return values.narrow(values.dim() - 2, 0, 1)


def _without_heads(met: Tracer, call: Call, reason: str) -> None:
    """Multiply matrices of one head: the rows of the first and the columns of the second keep their labels."""
    one, other = call.inputs[:2]
    output = call.outputs[0]
    rows, columns = met.labels(one), met.labels(other)
    rows = _but_summed(met, rows, -1, reason)
    columns = _but_summed(met, columns, -2, reason)
    if rows is not None and columns is not None:
        met.couplings.pin(rows, reason)
        met.couplings.pin(columns, reason)
        rows = columns = None
    labels = columns if rows is None else rows
    met.give(output, None if labels is None else aligned(labels, output.dim()))


def _but_summed(met: Tracer, labels: Labels | None, summed: int, reason: str) -> Labels | None:
    """Return the labels along the dimension that is not summed up; those along the other stay."""
    return None if labels is None else met.couplings.collapse(labels, [labels.dim() + summed], reason)


def _refuse(met: Tracer, call: Call, reason: str) -> None:
    for tensor in call.inputs:
        met.pin(tensor, reason)
    for output in call.outputs:
        met.give(output, None)


def _named(rule: Any, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


ATTENTION_RULES: dict[str, Rule] = {
    **_named(product, "matmul", "rmatmul", "bmm", "mm"),
    "scaled_dot_product_attention": scaled_dot_product,
    "multi_head_attention_forward": multi_head,
    "attend_with_fewer_heads": fewer_heads,
}
"""Name of a function -> what it does with labels."""
