"""A decoder-only transformer like Llama 3, with a static cache of keys and values, for accelerator.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

HEAD = 64  # features of an attention head
QUERIES = 4  # that share keys and values


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of the model and of its inputs.

    Attributes:
        layers: blocks.
        width: width of the hidden state; a multiple of 256.
        hidden: width of the feed-forward layers.
        vocabulary: tokens.
        prompt: tokens of a prompt, read at once.
        cache: positions of the static cache; decode reads all of them, and writes those after the prompt in turn.
    """

    layers: int
    width: int
    hidden: int
    vocabulary: int
    prompt: int
    cache: int


class Normalisation(nn.Module):
    """RMS over the features, with a gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return (batch, tokens, width) of the same."""
        return functional.rms_norm(states, self.gain.shape, self.gain)


class Block(nn.Module):
    """Grouped-query attention with rotary positions, and a gated feed-forward layer, as in Llama 3."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, kept = shape.width, shape.width // QUERIES
        self.before_attention, self.before_feed = Normalisation(width), Normalisation(width)
        self.read = nn.Linear(width, width + 2 * kept, bias=False)
        self.write = nn.Linear(width, width, bias=False)
        self.gate_and_up = nn.Linear(width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, width, bias=False)
        self._split = [width, kept, kept]

    def forward(
        self,
        states: torch.Tensor,
        turns: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """Return the hidden states (batch, tokens, width) after this block.

        Args:
            states: hidden states before it.
            turns: cosine and sine of each position, (2, tokens, head / 2).
            positions: (tokens,) of the cache, to write to.
            seen: which of the cache a single token looks at, (cache,).
            keys: the cache, (batch, heads / 4, cache, head); written in place.
            values: the cache of values, like ``keys``.
        """
        query, key, value = self.read(self.before_attention(states)).split(self._split, dim=-1)
        query, key, value = (_heads(each) for each in (query, key, value))  # (batch, heads, tokens, head)
        query, key = _turned(query, turns), _turned(key, turns)
        keys.index_copy_(2, positions, key)
        values.index_copy_(2, positions, value)
        if states.shape[1] == 1:
            response = _looked_back(query, keys, values, seen)
        else:
            key, value = (each.repeat_interleave(QUERIES, dim=1) for each in (key, value))
            response = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.write(response.transpose(1, 2).flatten(2))
        gate, up = self.gate_and_up(self.before_feed(states)).chunk(2, dim=-1)
        fed: torch.Tensor = self.down(functional.silu(gate) * up)
        return fed + states


class Decoder(nn.Module):
    """Tokens in, logits of the next token out."""

    turns: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.last, self.head = Normalisation(shape.width), nn.Linear(shape.width, shape.vocabulary, bias=False)
        angles = torch.outer(torch.arange(shape.cache), 10_000.0 ** -(torch.arange(0, HEAD, 2) / HEAD))
        self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()]))  # (2, cache, head / 2)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, cache: list[torch.Tensor]) -> torch.Tensor:
        """Return logits (batch, vocabulary) after tokens (batch, tokens) at positions (tokens,).

        Args:
            tokens: a prompt from position 0 on, or one token.
            positions: positions of the tokens in the cache.
            cache: keys and values of each block, (2, batch, heads / 4, cache, head).
        """
        states, turns = self.embedding(tokens), self.turns[:, positions]
        seen = torch.arange(self.turns.shape[1], device=tokens.device) <= positions[-1]
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            states = block(states, turns, positions, seen, keys, values)
        logits: torch.Tensor = self.head(self.last(states[:, -1]))
        return logits


def empty_cache(shape: Shape, batch: int, device: torch.device) -> torch.Tensor:
    """Return keys and values of a block, (2, batch, heads / 4, cache, head); random, as if something had been read."""
    kept = shape.width // HEAD // QUERIES
    return torch.randn(2, batch, kept, shape.cache, HEAD, device=device, dtype=torch.bfloat16)


def _heads(states: torch.Tensor) -> torch.Tensor:
    """Return (batch, heads, tokens, head) of (batch, tokens, heads x head)."""
    return states.reshape(*states.shape[:-1], -1, HEAD).transpose(1, 2)


def _turned(states: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Return (batch, heads, tokens, head) with each pair of features turned by its position (rotary embedding)."""
    first, second = states.chunk(2, dim=-1)
    cosine, sine = turns
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def _looked_back(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Attend from one token to the whole cache; the queries of a group are treated like tokens."""
    grouped = query.reshape(len(query), -1, QUERIES, HEAD)  # (batch, heads / 4, 4, head)
    response = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=seen[None, None, None])
    return response.flatten(1, 2).unsqueeze(2)  # (batch, heads, 1, head)
