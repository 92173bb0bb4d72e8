import pytest
import torch
from torch import nn

from overwinter.models import count_parameters, counted_sparsity, other_weights, prunable_weights


def test_only_linear_and_convolution_weights_are_prunable(convnet):
    assert list(prunable_weights(convnet)) == ["features.0.0", "features.2.0", "head"]


def test_a_shared_weight_counts_once():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(prunable_weights(model)) == 1
    assert count_parameters(model) == 12


def test_zeros_are_counted():
    model = nn.Linear(4, 5)
    with torch.no_grad():
        model.weight.fill_(1.0)[0] = 0.0
        model.bias.zero_()
    assert counted_sparsity(model) == pytest.approx(0.2)


def test_a_model_without_prunable_weights_is_dense():
    assert counted_sparsity(nn.BatchNorm1d(3)) == 0.0


class Positioned(nn.Module):
    """Positions of its own beside a layer."""

    def __init__(self):
        super().__init__()
        self.positions, self.scale = nn.Parameter(torch.zeros(1, 4, 8)), nn.Parameter(torch.ones(8))
        self.embedding, self.memory, self.head = nn.Embedding(5, 8), nn.LSTM(8, 8), nn.Linear(8, 2)


def test_matrices_of_no_linear_and_no_convolution_are_named():
    found = other_weights(nn.Sequential(Positioned()))
    assert {name: reason.split(" ")[0] for name, reason in found.items()} == {
        "0.positions": "it",
        "0.embedding": "Embedding",
        "0.memory": "LSTM",
    }
    assert found["0.positions"] == "it is a parameter of Positioned itself, not of a Linear or a convolution"
    assert list(other_weights(Positioned())) == ["positions", "embedding", "memory"]
