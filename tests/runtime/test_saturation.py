"""Weights converted to unsigned ones have the same values, and their products do not saturate."""

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import helper, numpy_helper

from overwinter.runtime.saturation import needs_reduced_range, unsign_weights

RANDOM = np.random.default_rng(0)
CODES = RANDOM.integers(-128, 128, (6, 4), np.int8)
INPUTS = RANDOM.standard_normal((3, 6)).astype(np.float32)


def graph_of(nodes, **constants):
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 6])]
    outputs = [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["batch", 4])]
    return helper.make_graph(nodes, "graph", inputs, outputs, tensors)


def dequantized():
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["weight"], axis=1),
        helper.make_node("MatMul", ["input", "weight"], ["output"]),
    ]
    return graph_of(nodes, codes=CODES, scale=np.array([1, 2, 3, 4], np.float32))


def integer_product():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["input"], ["quantized", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["quantized", "codes", "zero", "origin"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["output"], to=onnx.TensorProto.FLOAT),
    ]
    return graph_of(nodes, codes=CODES, origin=np.array([0, 1, -128, 127], np.int8))


def outputs(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    onnx.checker.check_model(model)
    return onnx.reference.ReferenceEvaluator(model).run(None, {"input": INPUTS})[0]


@pytest.mark.parametrize("make", [dequantized, integer_product])
def test_unsigned_weights_give_the_very_same_answers(make):
    graph = make()
    expected = outputs(graph)
    unsign_weights(graph)
    assert all(numpy_helper.to_array(each).dtype != np.int8 for each in graph.initializer)
    np.testing.assert_array_equal(outputs(graph), expected)


def test_a_weight_that_two_nodes_read_is_shifted_once():
    graph = dequantized()
    again = helper.make_node("DequantizeLinear", ["codes", "scale"], ["other"], axis=1)
    graph.node.insert(0, again)
    expected = outputs(graph)
    unsign_weights(graph)
    np.testing.assert_array_equal(outputs(graph), expected)


@pytest.mark.parametrize(
    ("machine", "flags", "reduced"),
    [
        ("x86_64", "avx2 fma", True),
        ("x86_64", "avx512f avx512_vnni", False),
        ("AMD64", "avx_vnni", False),
        ("aarch64", "asimd", False),
    ],
)
def test_only_x86_without_vnni_saturates(machine, flags, reduced):
    assert needs_reduced_range(machine, flags) is reduced
