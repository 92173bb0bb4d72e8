"""Layers with integer weights: `IntegerLinear`, `IntegerConv2d` and `IntegerEmbedding`.

Every method of `overwinter.quantization` creates them, `save_model` and `load_model` keep them bit for bit, and the
runtimes build their integer kernels from them. ``forward`` is the reference arithmetic: it dequantizes the weight,
fake-quantizes the input and applies the float operator, so a kernel that adds integers differs only by float rounding.
"""

from __future__ import annotations

from typing import Any, Self, cast

import torch
from torch import nn
from torch.nn import functional

from overwinter.errors import ConfigError
from overwinter.models.grid import Codes, Grid, pack, unpack

ACTIVATIONS = (None, "dynamic", "static")
_ROUNDED_AT_ONCE = 1 << 24  # values
FloatLayer = nn.Linear | nn.Conv2d | nn.Embedding


class IntegerLayer(nn.Module):
    """Base class of `IntegerLinear`, `IntegerConv2d` and `IntegerEmbedding`.

    Attributes:
        grid: grid of the weight.
        weight_shape: shape of the float weight, (out, in) or (out, in / groups, height, width).
        activations: None (float), ``dynamic`` (a range per token or sample) or ``static`` (one fixed range).
        activation_bits: bits of the input's codes, 2 to 8; unsigned with a zero point.
        activation_group_size: The number of features of a token that share a range, for ``dynamic`` activations of a
            Linear layer; their codes are symmetric, as in ONNX Runtime's blocked kernel. None: one range per token.
        codes: (out, columns) uint8; two per byte if the grid has at most 4 bits (see `grid.pack`).
        scale: (out, groups), float16 if the grid is compact, else float32.
        zero: (out, groups) uint8, two per byte if the grid is compact and has at most 4 bits; None if it is symmetric.
        bias: bias of the float layer, or None.
        activation_scale: () float32; None unless ``static``.
        activation_zero: () uint8; None unless ``static``.
        smoothing: (in features or channels,) float32 factors of the input (SmoothQuant); None: no factors.
    """

    grid: Grid
    weight_shape: tuple[int, ...]
    activations: str | None
    activation_bits: int
    activation_group_size: int | None
    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None
    bias: torch.Tensor | None
    activation_scale: torch.Tensor | None
    activation_zero: torch.Tensor | None
    smoothing: torch.Tensor | None

    def __init__(
        self,
        layer: FloatLayer,
        grid: Grid,
        *,
        activations: str | None = None,
        activation_bits: int = 8,
        activation_group_size: int | None = None,
        smoothed: bool = False,
    ) -> None:
        super().__init__()
        if activations not in ACTIVATIONS:
            raise ConfigError(f"activations={activations!r} is unknown. Allowed: null, dynamic, static.")
        if activation_group_size is not None and (activations != "dynamic" or not isinstance(layer, nn.Linear)):
            raise ConfigError(
                f"activation_group_size={activation_group_size} is for dynamic activations of Linear layers, not for "
                f"activations={activations!r} of {type(layer).__name__}."
            )
        self.grid, self.activations, self.activation_bits = grid, activations, activation_bits
        self.activation_group_size = activation_group_size
        self.weight_shape = tuple(layer.weight.shape)
        rows, groups = self.weight_shape[0], grid.groups(self.columns)
        width = -(-self.columns // 2) if self._packed else self.columns
        zeros = -(-groups // 2) if self._packed_zeros else groups
        zero = None if grid.symmetric else torch.zeros(rows, zeros, dtype=torch.uint8)
        static = activations == "static"
        self.register_buffer("codes", torch.zeros(rows, width, dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(rows, groups, dtype=torch.float16 if grid.compact else torch.float32))
        self.register_buffer("zero", zero)
        self.register_buffer("activation_scale", torch.ones(()) if static else None)
        self.register_buffer("activation_zero", torch.zeros((), dtype=torch.uint8) if static else None)
        self.register_buffer("smoothing", torch.ones(_inputs(layer)) if smoothed else None)
        self.bias = None if isinstance(layer, nn.Embedding) else layer.bias
        self._source: list[IntegerLayer] = []  # in a list, so that it is no submodule
        self._adopt(layer)
        self.train(layer.training)

    @classmethod
    def from_float(
        cls,
        layer: FloatLayer,
        grid: Grid,
        codes: Codes | None = None,
        *,
        activations: str | None = None,
        activation_bits: int = 8,
        activation_group_size: int | None = None,
        smoothing: torch.Tensor | None = None,
    ) -> Self:
        """Return the integer version of a float layer.

        Args:
            layer: float layer, which is not changed; the bias is shared.
            grid: grid of the weight.
            codes: codes from a solver; None rounds the layer's weight to nearest.
            activations: None, ``dynamic`` or ``static`` (`set_activation_range` sets the range).
            activation_bits: bits of the input's codes.
            activation_group_size: The number of features that share a range of dynamic activations; None: all.
            smoothing: (in features or channels,) factors of the input. ``codes``, or the layer's weight, must have been
                divided by them already.

        Raises:
            ConfigError: the kind of activations is unknown, or grouped activations are not dynamic ones of a Linear.
        """
        made = cls(
            layer,
            grid,
            activations=activations,
            activation_bits=activation_bits,
            activation_group_size=activation_group_size,
            smoothed=smoothing is not None,
        ).to(layer.weight.device)
        made.set_codes(_nearest(layer.weight.detach().flatten(1), grid) if codes is None else codes)
        if made.smoothing is not None and smoothing is not None:
            made.smoothing.copy_(smoothing)
        return made

    @property
    def columns(self) -> int:
        """Number of inputs per output: the width of the weight as a matrix."""
        return int(torch.Size(self.weight_shape[1:]).numel())

    @property
    def _packed(self) -> bool:
        return self.grid.bits <= 4

    @property
    def _packed_zeros(self) -> bool:
        return self.grid.compact and self._packed

    def get_codes(self, rows: torch.Tensor | slice = slice(None)) -> Codes:
        """Return the weight's codes, not packed, or those of some of its rows."""
        codes, (scale, zero) = self.codes[rows], self.get_scales(rows)
        return Codes(codes=unpack(codes, self.columns) if self._packed else codes, scale=scale, zero=zero)

    def get_scales(self, rows: torch.Tensor | slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return scales (out, groups), float32, and zero points, not packed, or those of some of its rows."""
        scale, zero = self.scale[rows].float(), None if self.zero is None else self.zero[rows]
        return scale, unpack(zero, scale.shape[1]) if zero is not None and self._packed_zeros else zero

    def zero_codes(self) -> torch.Tensor:
        """Return what ``codes`` hold for zero weights, uint8 in their shape, or () if that is the same everywhere."""
        _, zero = self.get_scales()
        if zero is None:
            middle = self.grid.middle
            return torch.tensor(middle | middle << 4 if self._packed else middle, dtype=torch.uint8)
        zeros = zero.repeat_interleave(self.grid.group_size or self.columns, dim=1)[:, : self.columns]
        return pack(zeros) if self._packed else zeros

    def set_codes(self, codes: Codes) -> None:
        """Replace codes, scales and zero points by others of the same grid."""
        self.codes.copy_(pack(codes.codes) if self._packed else codes.codes)
        self.scale.copy_(self.grid.held(codes.scale))
        if self.zero is not None and codes.zero is not None:
            self.zero.copy_(pack(codes.zero) if self._packed_zeros else codes.zero)

    @property
    def source(self) -> IntegerLayer | None:
        """The layer with whose codes this one computes, as a tied head does with its embedding's; or None."""
        return self._source[0] if self._source else None

    def share_codes(self, source: IntegerLayer) -> None:
        """Compute with another layer's codes, scales and zero points from now on, of which there is one copy.

        Raises:
            ConfigError: the other's weight has another shape or grid.
        """
        if (source.grid, source.weight_shape) != (self.grid, self.weight_shape):
            raise ConfigError(
                f"A layer of {list(self.weight_shape)} with {self.grid} cannot share the codes of one of "
                f"{list(source.weight_shape)} with {source.grid}."
            )
        self._source = [source]
        self.codes, self.scale, self.zero = source.codes, source.scale, source.zero

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        source = self.source
        if source is not None and source.codes.device == self.codes.device:
            self.share_codes(source)  # torch moves every buffer by itself
        return self

    def set_activation_range(self, low: float, high: float) -> None:
        """Set the range of ``static`` activations, widened to include 0."""
        if self.activation_scale is None or self.activation_zero is None:
            raise ConfigError(f"A layer with activations={self.activations!r} has no fixed range.")
        scale, zero = _activation_grid(
            torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32), self.activation_bits
        )
        self.activation_scale.copy_(scale)
        self.activation_zero.copy_(zero)

    def weight(self) -> torch.Tensor:
        """Return the dequantized weight in ``weight_shape``, float32."""
        return self.grid.decode(self.get_codes()).reshape(self.weight_shape)

    def zeros(self) -> torch.Tensor:
        """Return a mask of the zero weights, bool in ``weight_shape``, without dequantizing: scales are positive."""
        codes = self.get_codes()
        origin = self.grid.middle if codes.zero is None else codes.zero[:, :, None]
        found = (self.grid.grouped(codes.codes) == origin).flatten(1)[:, : self.columns]
        return found.reshape(self.weight_shape)

    def smoothed_input(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input times ``smoothing``."""
        return inputs if self.smoothing is None else inputs * self._per_channel(self.smoothing.to(inputs.dtype))

    def quantized_input(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input as the kernel uses it: smoothed, and on the grid of its activations."""
        inputs = self.smoothed_input(inputs)
        if self.activations is None:
            return inputs
        if self.activation_group_size is not None:
            return _rounded_in_groups(inputs, self.activation_group_size, self.activation_bits)
        if self.activation_scale is not None and self.activation_zero is not None:
            scale, zero = self.activation_scale, self.activation_zero.float()
        else:
            axes = self._sample_axes(inputs)
            scale, zero = _activation_grid(
                inputs.amin(axes, keepdim=True).float(), inputs.amax(axes, keepdim=True).float(), self.activation_bits
            )
        codes = ((inputs / scale).round() + zero).clamp(0, 2**self.activation_bits - 1)
        return ((codes - zero) * scale).to(inputs.dtype)

    def describe(self) -> dict[str, Any]:
        """Return the layer's entry in ``model.json``, from which `swap_in` creates an empty layer."""
        return {
            "bits": self.grid.bits,
            "group_size": self.grid.group_size,
            "symmetric": self.grid.symmetric,
            "compact": self.grid.compact,
            "activations": self.activations,
            "activation_bits": self.activation_bits,
            "activation_group_size": self.activation_group_size,
            "smoothed": self.smoothing is not None,
            "shape": list(self.weight_shape),
        }

    def extra_repr(self) -> str:
        """Return the layer's description in print(model)."""
        return ", ".join(f"{key}={value}" for key, value in self.describe().items())

    def apply_weight(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the float operator's output for an input, with a weight in ``weight_shape``."""
        raise NotImplementedError

    def _adopt(self, layer: Any) -> None:
        """Copy the operator's other arguments from the float layer."""

    def _per_channel(self, values: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _sample_axes(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Return the axes that share one range of dynamic activations."""
        raise NotImplementedError


class IntegerLinear(IntegerLayer):
    """`torch.nn.Linear` with an integer weight; dynamic activations have one range per token, or per group of it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., out) of (..., in)."""
        return self.apply_weight(self.quantized_input(input), self.weight().to(input.dtype))

    def apply_weight(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the float operator's output for an input, with a weight in ``weight_shape``."""
        return functional.linear(inputs, weight, self.bias)

    def _adopt(self, layer: nn.Linear) -> None:
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def _per_channel(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def _sample_axes(self, inputs: torch.Tensor) -> tuple[int, ...]:  # noqa: ARG002 -- as of a convolution
        return (-1,)


class IntegerConv2d(IntegerLayer):
    """`torch.nn.Conv2d` with an integer weight; dynamic activations have one range per sample."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (batch, out channels, height, width) of (batch, in channels, height, width)."""
        return self.apply_weight(self.quantized_input(input), self.weight().to(input.dtype))

    def apply_weight(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the float operator's output for an input, with a weight in ``weight_shape``."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            inputs, padding = functional.pad(inputs, self._edges, mode=self.padding_mode), 0
        return functional.conv2d(inputs, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _adopt(self, layer: nn.Conv2d) -> None:
        self.in_channels, self.out_channels, self.groups = layer.in_channels, layer.out_channels, layer.groups
        self.kernel_size = cast(tuple[int, int], layer.kernel_size)
        self.stride = cast(tuple[int, int], layer.stride)
        self.padding = cast("tuple[int, int] | str", layer.padding)
        self.dilation = cast(tuple[int, int], layer.dilation)
        self.padding_mode: str = layer.padding_mode
        self._edges: list[int] = list(layer._reversed_padding_repeated_twice)  # as its forward does

    def _per_channel(self, values: torch.Tensor) -> torch.Tensor:
        return values[:, None, None]

    def _sample_axes(self, inputs: torch.Tensor) -> tuple[int, ...]:
        return tuple(range(inputs.dim() - 3, inputs.dim()))


class IntegerEmbedding(IntegerLayer):
    """`torch.nn.Embedding` with an integer weight, of which only the rows of the given tokens are dequantized.

    Attributes:
        factor: by which rows are multiplied, as Gemma's embedding does; else 1.
    """

    factor: float

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., features), float32, of whole numbers (...)."""
        rows = self.get_codes(input.flatten())
        return (self.grid.decode(rows) * self.factor).reshape(*input.shape, -1)

    def apply_weight(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the float operator's output for an input, with a weight in ``weight_shape``."""
        return functional.embedding(inputs, weight) * self.factor

    def _adopt(self, layer: nn.Embedding) -> None:
        if self.activations is not None:
            raise ConfigError(f"activations={self.activations!r} of an embedding: its inputs are whole numbers.")
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        self.factor = embedding_factor(layer) or 1.0


def embedding_factor(layer: nn.Module) -> float | None:
    """Return by what a layer multiplies the rows of its weight: 1 of `torch.nn.Embedding`, more of Gemma's.

    None if it is no embedding, or one that computes something else, such as positions.
    """
    if type(layer) is nn.Embedding:
        return 1.0 if layer.max_norm is None else None
    if not isinstance(layer, nn.Embedding) or not hasattr(layer, "embed_scale"):
        return None
    scale: Any = layer.embed_scale
    return float(scale)  # of the transformers library's ...ScaledWordEmbedding


def _nearest(weight: torch.Tensor, grid: Grid) -> Codes:
    """Round a weight (out, columns) to nearest, some rows at a time: a vocabulary's is as large as many layers'."""
    rows = max(1, _ROUNDED_AT_ONCE // weight.shape[1])
    parts = [grid.nearest(each.float()) for each in torch.split(weight, rows)]
    zeros = [each.zero for each in parts if each.zero is not None]
    return Codes(
        codes=torch.cat([each.codes for each in parts]),
        scale=torch.cat([each.scale for each in parts]),
        zero=torch.cat(zeros) if zeros else None,
    )


def _inputs(layer: FloatLayer) -> int:
    if isinstance(layer, nn.Embedding):
        raise ConfigError("An embedding's inputs are whole numbers, which smoothing cannot multiply.")
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _activation_grid(low: torch.Tensor, high: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and zero point of activations between two bounds, as ONNX's DynamicQuantizeLinear computes them."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    top = 2**bits - 1
    scale = (high - low) / top
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, (-low / scale).round().clamp(0, top)


def _rounded_in_groups(inputs: torch.Tensor, size: int, bits: int) -> torch.Tensor:
    """Return (..., features) on symmetric grids, one for every ``size`` features of a token."""
    features = inputs.shape[-1]
    values = functional.pad(inputs, (0, -features % size)).float().reshape(*inputs.shape[:-1], -1, size)
    top = 2 ** (bits - 1) - 1
    scale = values.abs().amax(-1, keepdim=True) / top
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return ((values / scale).round() * scale).flatten(-2)[..., :features].to(inputs.dtype)
