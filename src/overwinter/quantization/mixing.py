"""Mixed precision: which layer gets how many bits, from what each choice costs by itself.

Damages are added up, as HAWQ does (https://arxiv.org/abs/1911.03852); the sum is a forecast, and anyone who uses it
measures the whole model afterwards. The choice is greedy: the most divergence avoided per byte, or the most bytes
saved per divergence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overwinter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to store a layer.

    Attributes:
        bits: of its codes; None: it stays in floating point.
        size_bytes: of its weight.
        divergence: what it does to the model's outputs by itself, in the task's unit.
    """

    bits: int | None
    size_bytes: int
    divergence: float


def fit_size(options: Mapping[str, Sequence[Option]], max_bytes: int) -> dict[str, Option]:
    """Choose per layer so that the weights take at most ``max_bytes``, with the least divergence that is found.

    Raises:
        ConfigError: even the smallest choice of every layer takes more.
    """
    chosen = {layer: min(each, key=lambda option: option.size_bytes) for layer, each in options.items()}
    left = max_bytes - sum(option.size_bytes for option in chosen.values())
    if left < 0:
        raise ConfigError(
            f"The layers' weights take at least {max_bytes - left} bytes, and the limit leaves them {max_bytes}. "
            "Raise quantize.mixed.max_size_ratio."
        )
    while True:
        moves = [
            (_gained(chosen[layer], option), layer, option)
            for layer, each in options.items()
            for option in each
            if option.divergence < chosen[layer].divergence and option.size_bytes - chosen[layer].size_bytes <= left
        ]
        if not moves:
            return chosen
        _, layer, option = max(moves, key=lambda move: move[0])
        left -= option.size_bytes - chosen[layer].size_bytes
        chosen[layer] = option


def fit_divergence(options: Mapping[str, Sequence[Option]], limit: float) -> dict[str, Option]:
    """Choose per layer so that the divergences add up to at most ``limit``, with the fewest bytes that are found.

    Raises:
        ConfigError: even the best choice of every layer adds up to more.
    """
    chosen = {layer: min(each, key=lambda option: option.divergence) for layer, each in options.items()}
    left = limit - sum(option.divergence for option in chosen.values())
    if left < 0:
        raise ConfigError(
            f"The least divergence of all layers together is {limit - left:.3g}, the limit {limit:.3g}. Raise "
            "quantize.mixed.max_divergence."
        )
    while True:
        moves = [
            (_gained(option, chosen[layer]), layer, option)
            for layer, each in options.items()
            for option in each
            if option.size_bytes < chosen[layer].size_bytes and option.divergence - chosen[layer].divergence <= left
        ]
        if not moves:
            return chosen
        _, layer, option = min(moves, key=lambda move: move[0])
        left -= option.divergence - chosen[layer].divergence
        chosen[layer] = option


def _gained(smaller: Option, larger: Option) -> float:
    """Divergence avoided per byte by taking the larger one."""
    return (smaller.divergence - larger.divergence) / max(1, larger.size_bytes - smaller.size_bytes)
