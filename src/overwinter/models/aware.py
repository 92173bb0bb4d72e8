"""Grids of a float model from quantization-aware training.

``model.json`` has them under ``quantization_aware``. The saved weights are on these grids, so the integer layers made
from them give exactly the outputs of the model with fake-quantized weights and activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models.grid import Grid
from overwinter.models.integer import IntegerLayer
from overwinter.models.swapping import integer_type


@dataclass(frozen=True, kw_only=True)
class AwareLayer:
    """The grids that one layer was trained for.

    Attributes:
        grid: grid of the weight.
        scale: (out, groups), float32.
        zero: (out, groups), uint8; None on a symmetric grid.
        activation_bits: bits of the input's codes, unsigned; None leaves the input in floating point.
        activation_scale: scale of the input's grid; None if ``activation_bits`` is.
        activation_zero: zero point of the input's grid; None if ``activation_bits`` is.
    """

    grid: Grid
    scale: torch.Tensor
    zero: torch.Tensor | None
    activation_bits: int | None
    activation_scale: float | None
    activation_zero: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the entry for ``model.json``; float32 numbers are kept exactly."""
        return {
            "bits": self.grid.bits,
            "group_size": self.grid.group_size,
            "symmetric": self.grid.symmetric,
            "scale": self.scale.tolist(),
            "zero": None if self.zero is None else self.zero.tolist(),
            "activation_bits": self.activation_bits,
            "activation_scale": self.activation_scale,
            "activation_zero": self.activation_zero,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Create the layer's grids from an entry of `to_json`."""
        zero = entry["zero"]
        return cls(
            grid=Grid(bits=entry["bits"], group_size=entry["group_size"], symmetric=entry["symmetric"]),
            scale=torch.tensor(entry["scale"], dtype=torch.float32),
            zero=None if zero is None else torch.tensor(zero, dtype=torch.uint8),
            activation_bits=entry["activation_bits"],
            activation_scale=entry["activation_scale"],
            activation_zero=entry["activation_zero"],
        )

    def integer_layer(self, layer: nn.Module) -> IntegerLayer:
        """Return the integer version of a layer with its weight on the grid; the layer is not changed.

        Raises:
            IntegrityError: the layer is neither Linear nor Conv2d, or its weight has another shape than the grid.
        """
        variant, weight = integer_type(layer), getattr(layer, "weight", None)
        if variant is None or not isinstance(layer, nn.Linear | nn.Conv2d) or not self._fits(weight):
            raise IntegrityError(
                f"The model was trained for a grid of {list(self.scale.shape)} scales, which the layer {layer} "
                "does not fit. Was the model's code changed, or were channels removed after training? Train it again."
            )
        codes = self.grid.encode(layer.weight.detach().flatten(1).float(), self.scale, self.zero)
        static = None if self.activation_bits is None else "static"
        made = variant.from_float(
            layer, self.grid, codes, activations=static, activation_bits=self.activation_bits or 8
        )
        if made.activation_scale is not None and made.activation_zero is not None:
            made.activation_scale.fill_(self.activation_scale or 0.0)
            made.activation_zero.fill_(self.activation_zero or 0)
        return made

    def _fits(self, weight: Any) -> bool:
        columns = weight[0].numel() if isinstance(weight, torch.Tensor) else 0
        return columns > 0 and list(self.scale.shape) == [len(weight), self.grid.groups(columns)]
