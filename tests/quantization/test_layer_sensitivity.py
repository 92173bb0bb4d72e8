import copy

import pytest
import torch
from torch import nn

from overwinter.models import Grid, integer_layers
from overwinter.quantization import Recipe, apply_recipe, sensitivity, worst_layers
from overwinter.tasks import Classification

TASK = Classification(tuple("abcde"))


@pytest.fixture
def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)).eval()


@pytest.fixture
def samples() -> torch.Tensor:
    return torch.randn(20, 16, generator=torch.Generator().manual_seed(0))


def test_the_layer_with_fewest_bits_is_named_first_and_dense_is_left_alone(dense, samples):
    quantized, before = copy.deepcopy(dense), copy.deepcopy(dense.state_dict())
    overrides = {"2": Grid(bits=2)}
    apply_recipe(quantized, Recipe(solver="nearest", grid=Grid(bits=8), overrides=overrides), ["0", "2", "4"])
    found = sensitivity(dense, quantized, samples, task=TASK)
    assert next(iter(found)) == "2"
    assert found["2"].divergence > 100 * found["4"].divergence > 0
    assert (found["2"].bits, found["2"].size_bytes) == (2, 32 * 16 + 32 * 2)
    assert found["2"].weight_error > 0.1 > found["0"].weight_error
    assert worst_layers(found, "nats", 1).startswith("2 (2 bits): ")
    assert not integer_layers(dense)
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.state_dict().items())


def test_a_smoothed_weight_is_compared_with_the_smoothed_one(dense, samples):
    quantized = copy.deepcopy(dense)
    apply_recipe(
        quantized,
        Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.5),
        ["0", "4"],
        samples,
    )
    assert all(0 < each.weight_error < 0.02 for each in sensitivity(dense, quantized, samples, task=TASK).values())
