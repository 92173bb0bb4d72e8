import pytest
import torch
from torch import nn

from overwinter.calibration.statistics import as_groups
from overwinter.sparsity.matrices import is_matrix, matrix_of, row_length, set_matrix

LAYERS = {
    "linear": (nn.Linear(6, 4, bias=False), torch.randn(5, 6)),
    "convolution": (nn.Conv2d(4, 6, 3, bias=False), torch.randn(2, 4, 6, 6)),
    "grouped": (nn.Conv2d(4, 6, (3, 1), groups=2, stride=2, bias=False), torch.randn(2, 4, 6, 6)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1, bias=False), torch.randn(2, 4, 6, 6)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_multiplies_its_inputs_by_its_matrices(kind):
    layer, inputs = LAYERS[kind]
    outputs = layer(inputs)
    expected = outputs if outputs.dim() == 2 else outputs.movedim(1, -1).flatten(0, -2)  # (rows, out)
    found = as_groups(layer, inputs) @ matrix_of(layer).mT  # (groups, rows, out of a group)
    torch.testing.assert_close(found.transpose(0, 1).flatten(1), expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_matrix_goes_back_where_it_came_from(kind):
    layer, _ = LAYERS[kind]
    before = layer.weight.detach().clone()
    matrix = matrix_of(layer)
    set_matrix(layer, -matrix)
    torch.testing.assert_close(layer.weight.detach(), -before)
    set_matrix(layer, matrix)
    assert torch.equal(layer.weight, before)


def test_the_matrix_is_a_copy():
    layer = nn.Linear(3, 2)
    matrix_of(layer).zero_()
    assert layer.weight.any()


def test_conv1d_of_transformers_is_a_transposed_linear():
    conv1d = pytest.importorskip("transformers.pytorch_utils", reason="the extra llm is not installed").Conv1D
    layer, inputs = conv1d(4, 6), torch.randn(5, 6)
    assert is_matrix(layer)
    assert row_length(layer) == 6
    torch.testing.assert_close(inputs @ matrix_of(layer)[0].T + layer.bias, layer(inputs))
    set_matrix(layer, 2 * matrix_of(layer))
    torch.testing.assert_close(inputs @ matrix_of(layer)[0].T + layer.bias, layer(inputs))


def test_groups_of_an_n_m_pattern_run_along_the_channels_of_one_place():
    layer = nn.Conv2d(4, 1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(16.0).view(1, 4, 2, 2))
    assert row_length(layer) == 4
    assert matrix_of(layer)[0, 0, :4].tolist() == [0.0, 4.0, 8.0, 12.0]


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 2, 1), nn.ConvTranspose2d(2, 2, 1), nn.Embedding(3, 2), nn.LSTM(2, 2)])
def test_other_layers_are_none(layer):
    assert not is_matrix(layer)
