import pytest
import torch
from torch import nn

from overwinter.models import count_parameters, counted_sparsity, prunable_weights


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
