"""Edits of a language model's ONNX graph: integer products in place of float ones, and a cut before the head.

`MatMulNBits` and `GatherBlockQuantized` of ONNX Runtime compute from codes as they lie: (rows, blocks, bytes), two
codes of 4 bits a byte, the earlier column in the lower half.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.nn import functional

from overwinter.errors import OverwinterError
from overwinter.models import Codes, Grid
from overwinter.models.grid import pack
from overwinter.runtime.onnx_language import SMALLEST_BLOCK
from overwinter.runtime.onnx_language_labels import Labels
from overwinter.runtime.session import Array

LOGITS_FROM = "logits_from"
_INTEGER_ACTIVATIONS = (
    4  # accuracy_level: activations rounded to 8 bits, by blocks; with 0, a token took 25 times as long
)
_LARGEST_BLOCK = 256
_PER_ROW = 64  # block of a row with one scale, which is repeated: small enough to fill up few columns
_DOMAIN = "com.microsoft"
_WEIGHT = {"MatMul": 1, "Gather": 0}  # the input that is the weight


class IntegerGraph:
    """Puts the codes of labelled layers into a graph, those that layers share once.

    Args:
        graph: the builder's, which is changed.
        labels: of the modules from which it was built.
    """

    def __init__(self, graph: ir.Graph, labels: Labels) -> None:
        self._graph, self._labels = graph, labels
        self._made: dict[tuple[str, str], ir.Value] = {}

    def put_codes(self) -> None:
        """Replace every product and look-up whose weight is labelled.

        Raises:
            OverwinterError: the builder joined layers of different grids.
        """
        for node in list(self._graph):
            place = _WEIGHT.get(node.op_type)
            weight = None if place is None else node.inputs[place]
            if weight is not None and weight.name in self._labels.named:
                replace = self._product if node.op_type == "MatMul" else self._look_up
                replace(node, self._matrix(weight.name))
        for name in self._labels.named:
            del self._graph.initializers[name]

    def _matrix(self, name: str) -> Matrix:
        rows = self._labels.rows(name)
        grids = {each.layer.grid for each in rows}
        if len(grids) != 1:
            raise OverwinterError(f"{name} joins layers of different grids: {grids}.")
        key = "+".join(f"{each.name}[{each.start}:{each.stop}]" for each in rows)
        return Matrix(key, _joined([each.codes() for each in rows]), grids.pop())

    def _product(self, node: ir.Node, matrix: Matrix) -> None:
        """Write MatMulNBits: (..., columns) times the matrix."""
        inputs = [node.inputs[0], self._codes(matrix), self._scales(matrix), self._zeros(matrix)]
        attributes = {
            "K": matrix.columns,
            "N": matrix.rows,
            "bits": matrix.bits,
            "block_size": matrix.block,
            "accuracy_level": _INTEGER_ACTIVATIONS,
        }
        self._replace(node, "MatMulNBits", inputs, attributes)

    def _look_up(self, node: ir.Node, matrix: Matrix) -> None:
        """Write GatherBlockQuantized: rows by blocks (..., blocks, columns of one), joined to (..., columns).

        It takes codes in the form of the product, so that a tied head has the same.
        """
        scales = self._insert("Unsqueeze", f"{matrix.name}.scales_by_block", [self._scales(matrix), self._whole([-1])])
        zeros = self._zeros(matrix)
        if zeros is not None:
            zeros = self._insert("Unsqueeze", f"{matrix.name}.zeros_by_block", [zeros, self._whole([-1])])
        attributes = {"bits": matrix.bits, "block_size": matrix.block, "gather_axis": 0, "quantize_axis": 2}
        inputs = [self._codes(matrix), node.inputs[1], scales, zeros]
        blocks = self._insert("GatherBlockQuantized", f"{node.name}.blocks", inputs, attributes, domain=_DOMAIN)
        self._replace(node, "Reshape", [blocks, self._whole([0, 0, matrix.columns])], {}, domain="")

    def _codes(self, matrix: Matrix) -> ir.Value:
        return self._once(matrix, "codes", lambda: self._constant(f"{matrix.name}.codes", matrix.codes()))

    def _scales(self, matrix: Matrix) -> ir.Value:
        return self._once(matrix, "scales", lambda: self._floats(f"{matrix.name}.scales", matrix.scales()))

    def _zeros(self, matrix: Matrix) -> ir.Value | None:
        zeros = matrix.zeros()
        if zeros is None:
            return None
        return self._once(matrix, "zeros", lambda: self._constant(f"{matrix.name}.zeros", zeros))

    def _once(self, matrix: Matrix, what: str, make: Any) -> ir.Value:
        key = (matrix.name, what)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

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
    """Codes of some rows in ONNX Runtime's layout.

    Args:
        name: which rows of which layers.
        codes: their codes.
        grid: their grid.

    Attributes:
        name: as given.
        bits: bits of a stored code, 4 or 8.
        block: The number of columns that share a scale, a power of two; the last block is filled up.
        rows: The number of rows.
        columns: The number of columns.
    """

    def __init__(self, name: str, codes: Codes, grid: Grid) -> None:
        self.name, self._given, self._grid = name, codes, grid
        self.rows, self.columns = codes.codes.shape
        self.bits = 4 if grid.bits <= 4 else 8
        self._group = self.columns if grid.group_size is None else grid.group_size
        self.block = _largest_block(self._group if self._group < self.columns else None)

    @property
    def _blocks(self) -> int:
        return -(-self.columns // self.block)

    def codes(self) -> Array:
        """(rows, blocks, bytes) uint8."""
        filled = functional.pad(self._given.codes, (0, self._blocks * self.block - self.columns))
        stored = pack(filled) if self.bits == 4 else filled
        return stored.reshape(self.rows, self._blocks, -1).numpy()

    def scales(self) -> Array:
        """(rows, blocks) float32."""
        return self._by_block(self._given.scale).float().numpy()

    def zeros(self) -> Array | None:
        """(rows, bytes) uint8, packed as codes are; None where they are the middle of the stored codes."""
        zero = self._given.zero
        if zero is None and self._grid.middle == 1 << (self.bits - 1):
            return None
        whole = torch.full_like(self._given.scale, self._grid.middle) if zero is None else zero
        values = self._by_block(whole).to(torch.uint8)
        return (pack(values) if self.bits == 4 else values).numpy()

    def _by_block(self, values: torch.Tensor) -> torch.Tensor:
        """Repeat a group's value (rows, groups) for each of its blocks."""
        return values.repeat_interleave(-(-self._group // self.block), dim=1)[:, : self._blocks].contiguous()


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


def _joined(parts: Sequence[Codes]) -> Codes:
    zeros = [part.zero for part in parts if part.zero is not None]
    return Codes(
        codes=torch.cat([part.codes for part in parts]),
        scale=torch.cat([part.scale for part in parts]),
        zero=torch.cat(zeros) if zeros else None,
    )


def _largest_block(group_size: int | None) -> int:
    """Return the largest power of two that divides a group; None: one group per row, which any block divides."""
    if group_size is None:
        return _PER_ROW
    block = SMALLEST_BLOCK
    while block < _LARGEST_BLOCK and group_size % (2 * block) == 0:
        block *= 2
    return block
