import itertools

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from overwinter.runtime import layer_of, tidy


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("/stem/Conv", "stem"),
        ("/blocks.0/inner/inner.2/inner.2.0/Conv", "blocks.0.inner.2.0"),
        ("/features/features.1/features.1.0/conv/Conv", "features.1.0.conv"),
        ("/MatMul", ""),
    ],
)
def test_layer_of_undoes_the_exporters_naming(node, layer):
    assert layer_of(node) == layer


def _chain(length: int) -> list[onnx.NodeProto]:
    names = ["x", *(f"t{index}" for index in range(length))]
    return [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]


@given(st.permutations(range(6)), st.permutations(range(4)))
def test_tidy_gives_one_order_whatever_the_order_was(node_order, constant_order):
    constants = [helper.make_tensor(f"c{index}", TensorProto.FLOAT, [1], [float(index)]) for index in range(4)]
    nodes = _chain(6)
    outputs = [helper.make_tensor_value_info("t5", TensorProto.FLOAT, [1])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]

    def graph(order, constant_order):
        model = helper.make_model(
            helper.make_graph([nodes[i] for i in order], "g", inputs, outputs, [constants[i] for i in constant_order])
        )
        return tidy(model).SerializeToString(deterministic=True)

    assert graph(node_order, constant_order) == graph(range(6), range(4))


def test_tidy_gives_every_user_of_a_shared_constant_its_own():
    constant = helper.make_tensor("bias", TensorProto.FLOAT, [1], [2.0])
    nodes = [helper.make_node("Identity", ["bias"], ["same"]), helper.make_node("Add", ["x", "same"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = tidy(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [constant])))
    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert [tensor.name for tensor in model.graph.initializer] == ["bias", "same"]
