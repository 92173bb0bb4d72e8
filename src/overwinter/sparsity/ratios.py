"""How many weights each layer keeps, for one density of all layers together.

- ``uniform``: every layer has the same density.
- ``erk``, Erdos-Renyi-Kernel (Evci et al., "Rigging the Lottery", 2020, arXiv 1911.11134): a layer's density is
  proportional to the sum of its weight's sides over their product, so that small layers stay denser. A layer that would
  exceed 1 is dense, and the others share what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from overwinter.errors import OverwinterError

RATIOS = ("uniform", "erk")


def layer_densities(shapes: Mapping[str, Sequence[int]], *, density: float, ratios: str) -> dict[str, float]:
    """Return layer name -> density, above 0 and at most 1; weighted by the layers' sizes, their mean is ``density``.

    Args:
        shapes: layer name -> shape of its weight, (out, in) or (out, in / groups, height, width).
        density: share of all weights that is kept, above 0, at most 1.
        ratios: ``uniform`` or ``erk``.
    """
    if ratios == "uniform":
        return dict.fromkeys(shapes, density)
    dense: set[str] = set()
    while True:
        densities = _erk_densities(shapes, density, dense)
        too_dense = {name for name, value in densities.items() if value > 1.0} - dense
        if not too_dense:
            return densities
        dense |= too_dense


def kept_weights(shapes: Mapping[str, Sequence[int]], *, density: float, ratios: str) -> dict[str, int]:
    """Return layer name -> number of weights kept; the sum is ``density`` of all weights, rounded.

    No layer is emptied: each keeps at least one weight.

    Args:
        shapes: layer name -> shape of its weight.
        density: share of all weights that is kept, above 0, at most 1.
        ratios: ``uniform`` or ``erk``.

    Raises:
        OverwinterError: fewer weights would be kept than there are layers.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = round(density * sum(sizes.values()))
    if total < len(sizes):
        raise OverwinterError(
            f"A density of {density} keeps {total} weights of {len(sizes)} layers, so some would be emptied.\n"
            "Remove less (amount), or name layers in skip."
        )
    densities = layer_densities(shapes, density=density, ratios=ratios)
    wanted = {name: densities[name] * size for name, size in sizes.items()}
    kept = {name: min(sizes[name], max(1, math.floor(value))) for name, value in wanted.items()}
    return _adjusted(kept, wanted, sizes, total)


def _erk_densities(shapes: Mapping[str, Sequence[int]], density: float, dense: set[str]) -> dict[str, float]:
    """Return the densities with some layers dense and the others rescaled, which may exceed 1."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    left = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
    scaled = sum(sum(shape) for name, shape in shapes.items() if name not in dense)
    return {name: 1.0 if name in dense else left / scaled * sum(shape) / sizes[name] for name, shape in shapes.items()}


def _adjusted(
    kept: dict[str, int], wanted: Mapping[str, float], sizes: Mapping[str, int], total: int
) -> dict[str, int]:
    """Return the counts, one weight more or less where rounding was furthest off, until they add up to ``total``."""
    kept = dict(kept)
    for _ in range(abs(total - sum(kept.values()))):
        if sum(kept.values()) < total:
            name = max((name for name in kept if kept[name] < sizes[name]), key=lambda name: wanted[name] - kept[name])
            kept[name] += 1
        else:
            name = max((name for name in kept if kept[name] > 1), key=lambda name: kept[name] - wanted[name])
            kept[name] -= 1
    return kept
