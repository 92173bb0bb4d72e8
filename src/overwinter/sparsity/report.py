"""What was asked of a sparsifier, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """One layer.

    Attributes:
        name: as in ``named_modules()``.
        before: weights or channels that it had.
        after: weights that are not zero, or channels, that it has now.
        density_asked: share of it that was to be kept, 0 to 1; None: it followed from the whole model's.
        output_error: norm of its output's error on the calibration inputs, over that of its output; None: not measured.
    """

    name: str
    before: int
    after: int
    density_asked: float | None = None
    output_error: float | None = None

    @property
    def removed_share(self) -> float:
        """How much was removed, 0 to 1."""
        return 1.0 - self.after / self.before


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """How far the kept weights came back to the dense model, on the samples that they were fitted to.

    Attributes:
        method: ``reconstruct`` or ``distill``.
        before: distance from the dense model at the beginning: of the outputs, in ``unit``; of blocks, their mean.
        after: and at the end.
        unit: of both.
        blocks: block -> its own distance before and after; empty if the model was fitted as a whole.
    """

    method: str
    before: float
    after: float
    unit: str
    blocks: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it in words."""
        return f"recovered ({self.method}): distance from dense {self.before:.3g} -> {self.after:.3g} {self.unit}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**vars(self), "blocks": {name: list(both) for name, both in self.blocks.items()}}


@dataclass(frozen=True, kw_only=True)
class SparsityReport:
    """A whole model.

    Attributes:
        method: the sparsifier's name.
        unit: what was removed: ``weights`` or ``channels``.
        asked: share to remove from the layers that were not left unchanged, 0 to 1.
        layers: one per layer from which something was to be removed.
        left_alone: layer name -> why nothing was removed from it.
        asked_of: of what the share was asked: the unit, or ``flops``.
        flops: floating-point operations for a sample, before and after; None: they are the same.
        recovered: how the kept weights recovered on the calibration samples; None: they did not.
    """

    method: str
    unit: str
    asked: float
    layers: tuple[LayerReport, ...]
    left_alone: Mapping[str, str]
    asked_of: str | None = None
    flops: tuple[int, int] | None = None
    recovered: Recovered | None = None

    @property
    def reached(self) -> float:
        """Share removed from the layers that were not left unchanged, counted, 0 to 1."""
        before = sum(layer.before for layer in self.layers)
        return 1.0 - sum(layer.after for layer in self.layers) / before if before else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "method": self.method,
            "unit": self.unit,
            "asked": self.asked,
            "asked_of": self.asked_of or self.unit,
            "flops_per_sample": None if self.flops is None else dict(zip(("before", "after"), self.flops, strict=True)),
            "reached": self.reached,
            "layers": {
                layer.name: {
                    "before": layer.before,
                    "after": layer.after,
                    "removed_share": layer.removed_share,
                    "density_asked": layer.density_asked,
                    "density_saved": 1.0 - layer.removed_share,
                    "output_error": layer.output_error,
                }
                for layer in self.layers
            },
            "left_alone": dict(self.left_alone),
            "recovered": None if self.recovered is None else self.recovered.to_json(),
        }
