"""Edits of a language model's ONNX graph: integer products in place of float ones, and a cut before the head.

`MatMulNBits` and `GatherBlockQuantized` of ONNX Runtime compute from codes as they lie: (rows, blocks, bytes), two
codes of 4 bits a byte, the earlier column in the lower half.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.nn import functional

from overwinter.models.grid import pack
from overwinter.runtime.onnx_language import SMALLEST_BLOCK
from overwinter.runtime.onnx_language_integers import Stored, joined
from overwinter.runtime.onnx_language_labels import Labels
from overwinter.runtime.session import Array

LOGITS_FROM = "logits_from"
# accuracy_level: inputs are rounded to 8 bits, by blocks; with 0, a token took 25 times as long.
_INTEGER_ACTIVATIONS = 4
_TOP = 127  # largest code of an input rounded to 8 bits
# Larger groups repeat their scale, since inputs are rounded by the same blocks: of SmolLM2 in 4 bits, blocks of 32 are
# 43 % nearer to torch's predictions than blocks of 64 (KL), for 4 % more time.
_LARGEST_BLOCK = 32
_DOMAIN = "com.microsoft"
_WEIGHT = {"MatMul": 1, "Gather": 0}  # the input that is the weight


class IntegerGraph:
    """Puts the integers of labelled layers into a graph, those that layers share once.

    Args:
        graph: the builder's, which is changed.
        labels: of the modules from which it was built.
        precise: name of the product whose input is rounded to 16 bits, not 8: the head's, whose weights take longer to
            read than to multiply with a second row.
    """

    def __init__(self, graph: ir.Graph, labels: Labels, *, precise: str) -> None:
        self._graph, self._labels, self._precise = graph, labels, precise
        self._made: dict[str, ir.Value] = {}

    def put_integers(self) -> None:
        """Replace every product and look-up whose weight is labelled."""
        for node in list(self._graph):
            place = _WEIGHT.get(node.op_type)
            weight = None if place is None else node.inputs[place]
            if weight is not None and weight.name in self._labels.named:
                replace = self._product if node.op_type == "MatMul" else self._look_up
                replace(node, self._matrix(weight.name))
        for name in self._labels.named:
            del self._graph.initializers[name]

    def _matrix(self, name: str) -> Matrix:
        parts = self._labels.rows(name)
        key = "+".join(f"{layer}[{rows.start}:{rows.stop}]" for layer, _, rows in parts)
        return Matrix(key, joined([source.rows(rows) for _, source, rows in parts]))

    def _product(self, node: ir.Node, matrix: Matrix) -> None:
        """Write MatMulNBits: (..., columns) times the matrix; minima are added by another product."""
        given = node.inputs[0]
        attributes = {
            "K": matrix.columns,
            "N": matrix.rows,
            "bits": matrix.bits,
            "block_size": matrix.block,
            "accuracy_level": _INTEGER_ACTIVATIONS,
        }
        is_precise = node.name == self._precise and matrix.columns % matrix.block == 0
        rows = self._two_rows(given, matrix) if is_precise else given
        inputs = [rows, self._codes(matrix), self._scales(matrix), self._zeros(matrix)]
        offsets = self._offsets(matrix)
        if offsets is None and not is_precise:
            self._replace(node, "MatMulNBits", inputs, attributes)
            return
        product = self._insert("MatMulNBits", f"{node.name}.codes", inputs, attributes, domain=_DOMAIN)
        if is_precise:
            product = self._sum_of_two(product)
        if offsets is None:
            self._replace(node, "Identity", [product], {}, domain="")
            return
        across = self._insert("Transpose", f"{matrix.name}.offsets.transposed", [offsets], {"perm": [1, 0]})
        added = self._insert("MatMul", f"{node.name}.offsets", [self._sums(given, matrix), across])
        self._replace(node, "Add", [product, added], {}, domain="")

    def _two_rows(self, given: ir.Value | None, matrix: Matrix) -> ir.Value:
        """Return an input (batch, length, columns) as two (batch, 2 length, columns): rounded to 8 bits, and the rest.

        It is rounded as the product does, in blocks, so that only the rest is rounded again.
        """

        def insert(operator: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
            return self._insert(operator, f"{self._precise}.{operator}_{next(numbers)}", inputs, attributes)

        numbers = count()
        by_block = self._whole([0, 0, matrix.columns // matrix.block, matrix.block])
        blocks = insert("Reshape", [given, by_block])
        largest = insert("ReduceMax", [insert("Abs", [blocks]), self._whole([-1])], keepdims=1)
        top = self._constant(f"{self._precise}.top", np.array([_TOP], dtype=np.float32))
        least = self._constant(f"{self._precise}.least", np.array([np.finfo(np.float32).tiny]))
        step = insert("Max", [insert("Div", [largest, top]), least])
        rounded = insert("Mul", [insert("Round", [insert("Div", [blocks, step])]), step])
        both = insert("Concat", [rounded, insert("Sub", [blocks, rounded])], axis=1)
        return insert("Reshape", [both, self._whole([0, -1, matrix.columns])])

    def _sum_of_two(self, product: ir.Value) -> ir.Value:
        """Add the products (batch, 2 length, rows) of the two parts of an input."""
        halves = ir.node("Split", [product], {"axis": 1, "num_outputs": 2}, num_outputs=2, name=f"{product.name}/Split")
        for number, half in enumerate(halves.outputs):
            half.name = f"{product.name}/half_{number}"
        self._graph.append(halves)
        return self._insert("Add", f"{product.name}/sum", halves.outputs)

    def _sums(self, given: ir.Value | None, matrix: Matrix) -> ir.Value:
        """Sum an input's values (..., columns) by blocks (..., blocks), once for all products of them."""
        name = f"{'' if given is None else given.name}.sums_of_{matrix.block}"

        def make() -> ir.Value:
            cut = self._whole([0, 0, matrix.columns // matrix.block, matrix.block])
            blocks = self._insert("Reshape", f"{name}.blocks", [given, cut])
            return self._insert("ReduceSum", name, [blocks, self._whole([-1])], {"keepdims": 0})

        return self._once(name, make)

    def _look_up(self, node: ir.Node, matrix: Matrix) -> None:
        """Write GatherBlockQuantized: rows by blocks (..., blocks, columns of one), joined to (..., columns).

        It takes codes in the form of the product, so that a tied head has the same.
        """
        tokens = node.inputs[1]
        last = self._whole([-1])
        scales = self._insert("Unsqueeze", f"{matrix.name}.scales_by_block", [self._scales(matrix), last])
        zeros = self._zeros(matrix)
        if zeros is not None:
            zeros = self._insert("Unsqueeze", f"{matrix.name}.zeros_by_block", [zeros, last])
        attributes = {"bits": matrix.bits, "block_size": matrix.block, "gather_axis": 0, "quantize_axis": 2}
        inputs = [self._codes(matrix), tokens, scales, zeros]
        blocks = self._insert("GatherBlockQuantized", f"{node.name}.blocks", inputs, attributes, domain=_DOMAIN)
        offsets = self._offsets(matrix)
        if offsets is not None:
            rows = self._insert("Gather", f"{node.name}.offsets", [offsets, tokens])
            by_block = self._insert("Unsqueeze", f"{node.name}.offsets_by_block", [rows, last])
            blocks = self._insert("Add", f"{node.name}.sum", [blocks, by_block])
        self._replace(node, "Reshape", [blocks, self._whole([0, 0, matrix.columns])], {}, domain="")

    def _codes(self, matrix: Matrix) -> ir.Value:
        name = f"{matrix.name}.codes"
        return self._once(name, lambda: self._constant(name, matrix.codes()))

    def _scales(self, matrix: Matrix) -> ir.Value:
        """Return those of the blocks (rows, blocks); a file holds those of the groups, which ONNX Runtime repeats."""
        name = f"{matrix.name}.scales"

        def make() -> ir.Value:
            scales = matrix.scales()
            repeats = matrix.blocks // scales.shape[1]
            if repeats == 1:
                return self._floats(name, scales)
            groups = self._floats(f"{name}.of_groups", scales[:, :, None])
            repeated = self._insert("Expand", f"{name}.repeated", [groups, self._whole([1, 1, repeats])])
            return self._insert("Reshape", name, [repeated, self._whole([matrix.rows, -1])])

        return self._once(name, make)

    def _zeros(self, matrix: Matrix) -> ir.Value | None:
        zeros, name = matrix.zeros(), f"{matrix.name}.zeros"
        return None if zeros is None else self._once(name, lambda: self._constant(name, zeros))

    def _offsets(self, matrix: Matrix) -> ir.Value | None:
        """Return what is added to the values of each block (rows, blocks): minima, and the middle code's value."""
        minima, name = matrix.minima(), f"{matrix.name}.offsets"
        if minima is None:
            return None

        def make() -> ir.Value:
            middle = self._constant(f"{name}.middle", np.array([matrix.middle], dtype=np.float32))
            spread = self._insert("Mul", f"{name}.spread", [self._scales(matrix), middle])
            return self._insert("Add", name, [self._floats(f"{name}.minima", minima), spread])

        return self._once(name, make)

    def _once(self, name: str, make: Callable[[], ir.Value]) -> ir.Value:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _floats(self, name: str, values: Array) -> ir.Value:
        """Return float32 values, stored as float16 where that is exact."""
        halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            return self._constant(name, values)
        return self._insert("Cast", name, [self._constant(f"{name}.half", halves)], {"to": ir.DataType.FLOAT.value})

    def _whole(self, numbers: Sequence[int]) -> ir.Value:
        name = f"whole.{'.'.join(map(str, numbers))}"
        if name not in self._graph.initializers:
            self._constant(name, np.array(numbers, dtype=np.int64))
        return self._graph.initializers[name]

    def _constant(self, name: str, values: Array) -> ir.Value:
        return add_constant(self._graph, name, values)

    def _insert(
        self,
        operator: str,
        name: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
    ) -> ir.Value:
        node = ir.node(operator, _without_absent_last(inputs), attributes, domain=domain, name=name)
        node.outputs[0].name = name
        self._graph.append(node)
        return node.outputs[0]

    def _replace(
        self,
        node: ir.Node,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        *,
        domain: str = _DOMAIN,
    ) -> None:
        made = ir.node(operator, _without_absent_last(inputs), attributes, domain=domain, name=node.name)
        ir.convenience.replace_nodes_and_values(self._graph, node, [node], [made], node.outputs, made.outputs)


class Matrix:
    """Rows of integers in ONNX Runtime's layout.

    Args:
        name: which rows of which layers.
        stored: the rows.

    Attributes:
        name: as given.
        bits: bits of a stored code, 4 or 8.
        middle: The code in the middle, before it was stored in more bits.
        block: The number of columns that are rounded and multiplied together, a power of two; the last is filled up.
        blocks: The number of blocks of a row.
        repeats: The number of blocks that share a group's scale.
        rows: The number of rows.
        columns: The number of columns.
    """

    def __init__(self, name: str, stored: Stored) -> None:
        self.name, self._stored = name, stored
        self.bits, self.middle = stored.layout.bits, stored.layout.middle
        self.rows, self.columns = stored.codes.shape
        size = stored.layout.group_size
        self._group = self.columns if size is None else size
        self.block = _largest_block(self._group if self._group < self.columns else None)
        self.blocks = -(-self.columns // self.block)
        self.repeats = -(-self._group // self.block)

    def codes(self) -> Array:
        """(rows, blocks, bytes) uint8."""
        filled = functional.pad(self._stored.codes, (0, self.blocks * self.block - self.columns))
        return self._packed(filled).reshape(self.rows, self.blocks, -1).numpy()

    def scales(self) -> Array:
        """(rows, groups) float32; (rows, blocks) where the last group is shorter than the others."""
        scale = self._stored.scale
        return (self._by_block(scale) if self.blocks % self.repeats else scale.contiguous()).numpy()

    def zeros(self) -> Array | None:
        """(rows, bytes) uint8, packed as codes are; None where they are the middle of the stored codes."""
        zero = self._stored.zero
        return None if zero is None else self._packed(self._by_block(zero)).numpy()

    def minima(self) -> Array | None:
        """(rows, blocks) float32, or None."""
        minimum = self._stored.minimum
        return None if minimum is None else self._by_block(minimum).numpy()

    def _packed(self, codes: torch.Tensor) -> torch.Tensor:
        return pack(codes) if self.bits == 4 else codes

    def _by_block(self, values: torch.Tensor) -> torch.Tensor:
        """Repeat a group's value (rows, groups) for each of its blocks."""
        return values.repeat_interleave(self.repeats, dim=1)[:, : self.blocks].contiguous()


def slice_before(graph: ir.Graph, node: ir.Node, name: str) -> None:
    """Cut a node's first input (batch, length, ...) from the position that a new input of the graph says."""
    starts = ir.Value(name=name, shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    graph.inputs.append(starts)
    ends = add_constant(graph, f"{name}.ends", np.array([np.iinfo(np.int64).max]))
    axes = add_constant(graph, f"{name}.axes", np.array([1]))
    cut = ir.node("Slice", [node.inputs[0], starts, ends, axes], name=f"{name}/Slice")
    cut.outputs[0].name = f"{name}/output_0"
    graph.insert_before(node, cut)
    node.replace_input_with(0, cut.outputs[0])


def add_constant(graph: ir.Graph, name: str, values: Array) -> ir.Value:
    """Add an initializer."""
    tensor = ir.tensor(values, name=name)
    value = ir.Value(name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _without_absent_last(inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value | None]:
    return inputs[:-1] if inputs[-1] is None else inputs


def _largest_block(group_size: int | None) -> int:
    """Return the largest power of two that divides a group; None: one group per row, which any block divides."""
    if group_size is None:
        return _LARGEST_BLOCK
    block = SMALLEST_BLOCK
    while block < _LARGEST_BLOCK and group_size % (2 * block) == 0:
        block *= 2
    return block
