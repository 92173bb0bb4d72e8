"""A transformer whose activations have outlier channels, as those of trained encoders do."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from overwinter.quantization.onnx_outliers import outliers, split_outliers
from overwinter.runtime import export_onnx
from overwinter.signature import Signature

LOUD = [3, 17]


class Block(nn.Module):
    """A residual block with two loud channels."""

    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
        with torch.no_grad():
            self.norm.weight[LOUD] = 40.0

    def forward(self, x):
        states = self.norm(x)
        return states + self.down(torch.nn.functional.gelu(self.up(states)))


@pytest.fixture
def exported():
    torch.manual_seed(0)
    return export_onnx(Block().eval(), torch.randn(8, 5, 32).numpy(), Signature.of_one([5, 32]))


@pytest.fixture
def inputs(exported):
    draw = np.random.default_rng(0)
    return {exported.graph.input[0].name: draw.standard_normal((16, 5, 32)).astype(np.float32)}


def products(graph):
    constants = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def run(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ([1.0, 30.0, 1.2, 0.9], [1]),
        ([1.0, 30.0, 12.0, 0.9], [1, 2]),  # the second one once the first is out
        ([1.0, 1.4, 1.2, 0.9], []),
        ([*[9.0] * 9, *[1.0] * 20], []),  # too many to be outliers
        ([0.0, 0.0], []),
        ([5.0], []),
    ],
)
def test_outliers_are_few_and_widen_the_range_of_all(largest, expected):
    assert outliers(np.array(largest)).tolist() == expected


def test_the_graph_computes_what_it_did(exported, inputs):
    split = split_outliers(exported, products(exported.graph), [inputs])
    onnx.checker.check_model(split.model)
    np.testing.assert_allclose(run(split.model, inputs), run(exported, inputs), rtol=1e-4, atol=1e-3)


def test_loud_channels_leave_the_range_and_the_integer_weight(exported, inputs):
    names = products(exported.graph)
    split = split_outliers(exported, names, [inputs])
    assert list(split.channels) == names[:1]
    assert split.channels[names[0]] == len(LOUD)
    assert len(split.added) == 1
    ((tensor, (low, high)),) = split.ranges.items()
    assert -8 < low < 0 < high < 8, "the loud channels reach beyond 40"
    (first,) = (node for node in split.model.graph.node if node.name == names[0])
    assert first.input[0] == tensor
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in split.model.graph.initializer}
    assert not constants[first.input[1]][LOUD].any()
    assert constants[first.input[1]].any()


def test_a_residual_sum_reads_what_no_product_rounds(exported, inputs):
    split = split_outliers(exported, products(exported.graph), [inputs])
    rounded = {node.input[0] for node in split.model.graph.node if node.name in products(exported.graph)}
    readers = [node.op_type for node in split.model.graph.node if rounded & set(node.input)]
    assert readers == ["MatMul", "MatMul"]
