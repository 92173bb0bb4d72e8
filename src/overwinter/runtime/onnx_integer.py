"""Integer layers in an ONNX graph: weights stay in codes, with operators for which the runtimes have kernels.

The export of a layer, in opset 17 and in ONNX Runtime's own domain, which OpenVINO reads too:

- Linear: ``MatMulNBits`` with codes of 4 or 8 bits in blocks. Its kernel rounds each block of each token to 8
  bits at run time, more finely than the one range per token of `IntegerLinear`'s dynamic activations
  (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits).
- Linear with dynamic activations and one group per channel, on a flat batch: ``DynamicQuantizeLinear`` and
  ``MatMulInteger``, which ONNX Runtime fuses; the fastest at large batches. It has one range for the whole batch:
  `build` falls back to ``MatMulNBits`` if that changes the outputs too much.
- static activations: ``QuantizeLinear`` and ``DequantizeLinear`` around the float operator (QDQ), from which
  runtimes build integer kernels.
- everything else (mainly convolutions): the weight is dequantized once, on loading, and the activations stay float.
  Integer convolutions with ranges at run time took 3 to 15 times the time of float ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.models import IntegerConv2d, IntegerLayer, IntegerLinear, copy_module, integer_layers, replace_layer

_DOMAIN = "com.microsoft"
_BLOCKS = (256, 128, 64, 32, 16)  # columns that may share a scale in MatMulNBits, the fastest first
_INT8_ARITHMETIC = 4  # MatMulNBits' name for computing in 8-bit integers
_SIGNED = 128  # from unsigned codes to signed ones


def with_stand_ins(model: nn.Module, *, batch_ranges: bool, products: bool) -> nn.Module:
    """Return a copy with integer layers replaced by modules that torch's exporter writes as integer operators.

    Args:
        model: model with integer layers, with float or 8-bit activations.
        batch_ranges: whether dynamic activations of a flat batch may share one range.
        products: whether Linear layers with static activations are QDQ, else ``MatMulNBits`` after QDQ of the input.
            ONNX Runtime dequantized such weights again for each output, which took 5 times the time of float ones.
    """
    exported = copy_module(model)
    for name, layer in integer_layers(exported).items():
        assert isinstance(layer, IntegerLinear | IntegerConv2d), type(layer)  # noqa: S101 -- there are no others
        replace_layer(exported, name, _stand_in(layer, batch_ranges=batch_ranges, products=products))
    return exported


def _stand_in(layer: IntegerLinear | IntegerConv2d, *, batch_ranges: bool, products: bool) -> nn.Module:
    if isinstance(layer, IntegerConv2d):
        return _Convolution(layer)
    block = _block_size(layer)
    static = layer.activations == "static" and layer.grid.groups(layer.columns) == 1
    if (static and products) or block is None:
        return _Product(layer)
    blocked = _BlockedProduct(layer, block)
    if batch_ranges and layer.activations == "dynamic" and layer.grid.groups(layer.columns) == 1:
        return _DynamicProduct(layer, blocked)
    return blocked


class _StandIn(nn.Module):
    """Base class with the smoothing and the static range of the input."""

    smoothing: torch.Tensor | None

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.bias = layer.bias
        self.range = _static_range(layer)
        conv = isinstance(layer, IntegerConv2d)
        smoothing = layer.smoothing
        self.register_buffer("smoothing", smoothing[:, None, None] if conv and smoothing is not None else smoothing)

    def prepared(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the smoothed input, on the static grid of its activations if there is one."""
        if self.smoothing is not None:
            inputs = inputs * self.smoothing
        if self.range is None:
            return inputs
        return torch.fake_quantize_per_tensor_affine(inputs, *self.range, 0, 255)


class _Weight(nn.Module):
    """A float weight that the graph computes from its codes."""

    codes: torch.Tensor
    scale: torch.Tensor
    origin: torch.Tensor

    def __init__(self, layer: IntegerLayer, *, transposed: bool) -> None:
        super().__init__()
        grid, codes = layer.grid, layer.get_codes()
        # QDQ kernels want signed codes, and the same zero point in all channels.
        self.signed = layer.activations == "static" and grid.symmetric and grid.groups(layer.columns) == 1
        self.transposed, self.columns = transposed, layer.columns
        self.shape = tuple(layer.weight_shape)
        if self.signed:
            centered = (codes.codes.short() - grid.middle).clamp(-_SIGNED, _SIGNED - 1).to(torch.int8)
            self.register_buffer("codes", _oriented(centered.reshape(self.shape), transposed=transposed))
            self.register_buffer("scale", codes.scale[:, 0])
            return
        origin = torch.full_like(codes.scale, grid.middle) if codes.zero is None else codes.zero.float()
        self.register_buffer("codes", grid.grouped(codes.codes))
        self.register_buffer("scale", codes.scale[:, :, None])
        self.register_buffer("origin", origin[:, :, None])

    def forward(self) -> torch.Tensor:
        """Return the weight, or its transpose."""
        if self.signed:
            return _apply(_Dequantized, self.codes, self.scale, 1 if self.transposed else 0)
        values = (self.codes.float() - self.origin) * self.scale  # (out, groups, size)
        weight = values.flatten(1)[:, : self.columns].reshape(self.shape)
        return _oriented(weight, transposed=self.transposed)


class _Convolution(_StandIn):
    def __init__(self, layer: IntegerConv2d) -> None:
        super().__init__(layer)
        self.weight = _Weight(layer, transposed=False)
        zeros = layer.padding_mode == "zeros"
        # ONNX Runtime lacks dilation together with padding "same"; explicit padding works with both.
        self.padded = not zeros or isinstance(layer.padding, str)
        self.mode, self.edges = "constant" if zeros else layer.padding_mode, layer._edges
        padding: Any = 0 if self.padded else layer.padding
        self.geometry = (layer.stride, padding, layer.dilation, layer.groups)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        images = self.prepared(input)
        if self.padded:
            images = functional.pad(images, self.edges, mode=self.mode)
        return functional.conv2d(images, self.weight(), self.bias, *self.geometry)


class _Product(_StandIn):
    """The float operator on a weight from its codes; with static activations, QDQ."""

    def __init__(self, layer: IntegerLinear) -> None:
        super().__init__(layer)
        self.weight = _Weight(layer, transposed=True)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        return _biased(self.prepared(input) @ self.weight(), self.bias)


class _BlockedProduct(_StandIn):
    """``MatMulNBits``."""

    def __init__(self, layer: IntegerLinear, block: int) -> None:
        super().__init__(layer)
        self.layer, self.block = layer, block
        self.register_buffer("weight", layer.weight())
        self.bits = 4 if layer.grid.bits <= 4 else 8
        codes = layer.get_codes()
        shift = 0 if codes.zero is not None else (1 << self.bits - 1) - layer.grid.middle
        columns = functional.pad(codes.codes + shift, (0, -layer.columns % block))
        blocks = columns.reshape(len(columns), -1, block)
        self.register_buffer("codes", _pairs(blocks) if self.bits == 4 else blocks)
        self.register_buffer("scale", self._per_block(codes.scale).contiguous())
        zero = None if codes.zero is None else self._per_block(codes.zero)
        self.register_buffer("zero", _pairs(zero) if zero is not None and self.bits == 4 else zero)

    def _per_block(self, values: torch.Tensor) -> torch.Tensor:
        """Return (out, groups) as (out, blocks)."""
        columns, size = self.layer.columns, self.layer.grid.group_size
        group_of_block = torch.arange(0, columns, self.block) // (columns if size is None else size)
        return values[:, group_of_block]

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        inputs = self.prepared(input)
        product = _apply(_MatMulNBits, inputs, self.weight, self.codes, self.scale, self.zero, self.bits, self.block)
        return _biased(product, self.bias)


class _DynamicProduct(_StandIn):
    """``DynamicQuantizeLinear`` and ``MatMulInteger`` on a flat batch, else ``MatMulNBits``."""

    def __init__(self, layer: IntegerLinear, otherwise: _BlockedProduct) -> None:
        super().__init__(layer)
        self.otherwise = otherwise
        self.register_buffer("weight", layer.weight())
        codes, grid = layer.get_codes(), layer.grid
        origin = grid.middle if codes.zero is None else _SIGNED
        signed = (codes.codes.short() - origin).clamp(-_SIGNED, _SIGNED - 1).to(torch.int8)
        self.register_buffer("codes", signed.T.contiguous())  # (in, out)
        self.register_buffer("scale", codes.scale[:, 0])
        zero = None if codes.zero is None else (codes.zero[:, 0].short() - _SIGNED).to(torch.int8)
        self.register_buffer("zero", torch.zeros_like(signed[:, 0]) if zero is None else zero)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        if input.dim() != 2:
            return self.otherwise.forward(input)
        product = _apply(_MatMulInteger, self.prepared(input), self.weight, self.codes, self.scale, self.zero)
        return _biased(product, self.bias)


# When traced, these compute with the float weight, so that a module that branches on values takes its usual path; the
# exporter drops that weight, because ``symbolic`` does not use it.


class _MatMulNBits(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, inputs: torch.Tensor, weight: torch.Tensor, *_operands: Any) -> torch.Tensor:
        return functional.linear(inputs, weight)

    @staticmethod
    def symbolic(graph: Any, inputs: Any, weight: Any, codes: Any, scale: Any, zero: Any, bits: int, block: int) -> Any:
        out, columns = weight.type().sizes()
        operands = [inputs, codes, scale] if zero is None or zero.node().mustBeNone() else [inputs, codes, scale, zero]
        product = graph.op(
            f"{_DOMAIN}::MatMulNBits",
            *operands,
            K_i=columns,
            N_i=out,
            bits_i=bits,
            block_size_i=block,
            accuracy_level_i=_INT8_ARITHMETIC,
        )
        return _typed(product, inputs, out)


class _MatMulInteger(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, inputs: torch.Tensor, weight: torch.Tensor, *_operands: Any) -> torch.Tensor:
        return functional.linear(inputs, weight)

    @staticmethod
    def symbolic(graph: Any, inputs: Any, weight: Any, codes: Any, scale: Any, zero: Any) -> Any:
        quantized, input_scale, input_zero = graph.op("DynamicQuantizeLinear", inputs, outputs=3)
        sums = graph.op("MatMulInteger", quantized, codes, input_zero, zero)
        floats = graph.op("Cast", sums, to_i=torch.onnx.TensorProtoDataType.FLOAT)
        # In this order, which is the one that ONNX Runtime fuses.
        product = graph.op("Mul", floats, graph.op("Mul", input_scale, scale))
        return _typed(product, inputs, weight.type().sizes()[0])


class _Dequantized(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, codes: Any, scale: Any, axis: int) -> torch.Tensor:
        values: torch.Tensor = codes.float() * scale.reshape([-1 if at == axis else 1 for at in range(codes.dim())])
        return values

    @staticmethod
    def symbolic(graph: Any, codes: Any, scale: Any, axis: int) -> Any:
        values = graph.op("DequantizeLinear", codes, scale, axis_i=axis)
        values.setType(scale.type().with_sizes(codes.type().sizes()))
        return values


def _apply(function: type[torch.autograd.Function], *operands: Any) -> torch.Tensor:
    result: torch.Tensor = function.apply(*operands)  # type: ignore[no-untyped-call]  # torch has no types for it
    return result


def _block_size(layer: IntegerLayer) -> int | None:
    """Return the largest block of `MatMulNBits` with one scale for its columns, or None."""
    size = layer.grid.group_size
    if size is None or size >= layer.columns:
        size = 0  # every block divides it
    return next((block for block in _BLOCKS if size % block == 0 and (block <= layer.columns or block == 16)), None)


def _static_range(layer: IntegerLayer) -> tuple[float, int] | None:
    if layer.activation_scale is None or layer.activation_zero is None:
        return None
    return float(layer.activation_scale), int(layer.activation_zero)


def _oriented(weight: torch.Tensor, *, transposed: bool) -> torch.Tensor:
    return weight.T.contiguous() if transposed else weight


def _biased(product: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return product if bias is None else product + bias


def _pairs(codes: torch.Tensor) -> torch.Tensor:
    """Return codes of 4 bits (..., n) two per byte (..., ceil(n / 2)), the earlier in the lower half."""
    even = functional.pad(codes, (0, codes.shape[-1] % 2))
    return even[..., 0::2] | (even[..., 1::2] << 4)


def _typed(product: Any, inputs: Any, out: int) -> Any:
    """Set the type and the last size of another domain's operator, which the exporter cannot infer."""
    product.setType(inputs.type().with_sizes([*inputs.type().varyingSizes()[:-1], out]))
    return product
