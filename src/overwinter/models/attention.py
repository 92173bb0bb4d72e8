"""Attention of which heads were removed, in layers that have the number of heads written down beside their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import wrap_torch_function


class FewerHeads(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` whose heads are together narrower than its input.

    Torch's own layer takes the heads to be as wide as the input, so it cannot have fewer of them; it becomes this one
    when tensors with fewer heads are put into it (`declare_heads`). Calls and outputs are those of torch's own.
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend as torch's own layer does; that a mask is causal is not made use of.

        Raises:
            ValueError: ``is_causal`` says that the mask is causal, and there is none.
        """
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint that attn_mask is causal, and there is no attn_mask. Give it, too.")
        if attn_mask is not None and attn_mask.dim() == query.dim() == 3:
            # A mask for each head of each sequence.
            attn_mask = attn_mask.unflatten(0, (-1, self.num_heads))  # type: ignore[no-untyped-call]
        attended, weights = attend_with_fewer_heads(
            query,
            key,
            value,
            self.num_heads,
            (self.in_proj_weight, self.in_proj_bias),
            (self.out_proj.weight, self.out_proj.bias),
            mask=_added(attn_mask, key_padding_mask, query.dtype),
            dropout=self.dropout if self.training else 0.0,
            tokens_first=not self.batch_first and query.dim() == 3,
            need_weights=need_weights,
        )
        return attended, weights.mean(-3) if weights is not None and average_attn_weights else weights


Layer = tuple[torch.Tensor, torch.Tensor | None]
"""A linear layer's weight and bias."""


@wrap_torch_function(lambda query, key, value, *_rest, **_keywords: (query, key, value))
def attend_with_fewer_heads(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    heads: int,
    inward: Layer,
    outward: Layer,
    *,
    mask: torch.Tensor | None,
    dropout: float,
    tokens_first: bool,
    need_weights: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend with heads that are together narrower than the input; to who listens to torch, it is one function.

    Args:
        query: (batch, tokens, features), or (tokens, features).
        key: as ``query``, with tokens of its own.
        value: as ``key``.
        heads: how many there are.
        inward: makes queries, keys and values: (3 * width, features), (3 * width,).
        outward: takes in what the heads read: (features, width), (features,).
        mask: is added to the scores, (batch, heads, tokens, keys) or what is broadcast to it.
        dropout: share of the attention's weights that is dropped.
        tokens_first: whether batches are (tokens, batch, features), the output too.
        need_weights: whether to return the attention's weights.

    Returns:
        as ``query``; and the weights (batch, heads, tokens, keys), or None.
    """
    queries, keys, values = (
        each.reshape(*each.shape[:-1], heads, -1).transpose(-3, -2)  # (batch, heads, tokens, features of a head)
        for each in _projected([query, key, value], *inward, tokens_first=tokens_first)
    )
    weights = None
    if need_weights:
        scores = queries @ keys.transpose(-2, -1) * queries.size(-1) ** -0.5
        weights = functional.dropout(torch.softmax(scores if mask is None else scores + mask, dim=-1), dropout)
        read = weights @ values
    else:
        read = functional.scaled_dot_product_attention(queries, keys, values, mask, dropout)
    output = functional.linear(read.transpose(-3, -2).flatten(-2), *outward)
    return output.transpose(0, 1) if tokens_first else output, weights


def _projected(
    inputs: list[torch.Tensor], weight: torch.Tensor, bias: torch.Tensor | None, *, tokens_first: bool
) -> list[torch.Tensor]:
    """Return queries, keys and values, each (batch, tokens, width)."""
    arranged = [each.transpose(0, 1) for each in inputs] if tokens_first else inputs
    if inputs[0] is inputs[1] and inputs[1] is inputs[2]:
        return list(functional.linear(arranged[0], weight, bias).chunk(3, dim=-1))
    biases = [None] * 3 if bias is None else bias.chunk(3)
    return [functional.linear(*each) for each in zip(arranged, weight.chunk(3), biases, strict=True)]


def _added(attention: torch.Tensor | None, padding: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Return both masks as one that is added to the scores."""
    if padding is not None:
        padding = _as_numbers(padding[..., None, None, :], dtype)  # (batch, 1, 1, keys)
    if attention is None:
        return padding
    return _as_numbers(attention, dtype) if padding is None else _as_numbers(attention, dtype) + padding


def _as_numbers(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a mask that is True where nothing is read as numbers to add."""
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def has_removable_heads(layer: Any) -> bool:
    """Return whether a layer is torch's own attention with one weight for queries, keys and values, and no more."""
    own = type(layer) in (nn.MultiheadAttention, FewerHeads) and layer.in_proj_weight is not None
    return own and layer.bias_k is None and not layer.add_zero_attn


def _of_torch(attention: Any) -> None:
    attention.num_heads = len(attention.in_proj_weight) // (3 * attention.head_dim)
    if attention.num_heads * attention.head_dim < attention.embed_dim:
        attention._qkv_same_embed_dim = False  # else an encoder layer calls what computes with all heads
        attention.__class__ = FewerHeads


def _of_opt(attention: Any) -> None:
    attention.num_heads = attention.q_proj.weight.shape[0] // attention.head_dim


def _of_gpt2(attention: Any) -> None:
    if not attention.is_cross_attention:
        attention.split_size = attention.c_attn.weight.shape[1] // 3
        attention.num_heads = attention.split_size // attention.head_dim


_BY_NAME: Mapping[str, Callable[[Any], None]] = {"OPTAttention": _of_opt, "GPT2Attention": _of_gpt2}
"""Classes of transformers that split by a number which is not in their tensors."""


def declare_heads(layer: nn.Module) -> None:
    """Let a layer of attention compute, in place, with the heads that its tensors have; any other stays as it is."""
    if has_removable_heads(layer):
        _of_torch(layer)
    elif type(layer).__name__ in _BY_NAME:
        _BY_NAME[type(layer).__name__](layer)
    elif isinstance(layer, nn.TransformerEncoder) and any(isinstance(each, FewerHeads) for each in layer.modules()):
        layer.use_nested_tensor = False  # which only the layers with all heads compute with


def declares_own_heads(model: nn.Module) -> bool:
    """Return whether a model's attention has its number of heads from its tensors alone, by `declare_heads`."""
    return any(type(each).__name__ in _BY_NAME for each in model.modules())


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Let torch's encoder layers, while open, call their parts, not one function that hides what it computes."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
