import copy

import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Grid, integer_layers
from overwinter.quantization import Recipe, ScaleDistillation, apply_recipe, distill_scales
from overwinter.tasks import Classification

INT3 = Grid(bits=3, group_size=16, symmetric=False)
TASK = Classification(tuple("abcdefghij"))


@pytest.fixture
def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()


@pytest.fixture
def samples() -> torch.Tensor:
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def quantized(dense: nn.Module, samples: torch.Tensor, grid: Grid = INT3, activations: str | None = None) -> nn.Module:
    model = copy.deepcopy(dense)
    apply_recipe(model, Recipe(solver="nearest", grid=grid, activations=activations), ["0", "3"], samples)
    return model


def error(model: nn.Module, dense: nn.Module, samples: torch.Tensor) -> float:
    with torch.inference_mode():
        odds, wanted = (each(samples).log_softmax(1) for each in (model, dense))
        return float((wanted.exp() * (wanted - odds)).sum(1).mean())


@pytest.mark.parametrize("activations", [None, "dynamic", "static"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scale_distillation_comes_closer_to_dense_and_moves_nothing_but_scales(dense, samples, activations, symmetric):
    model = quantized(dense, samples, Grid(bits=3, group_size=16, symmetric=symmetric), activations)
    before = copy.deepcopy(model.state_dict())
    was = error(model, dense, samples)
    losses = distill_scales(
        model, dense, [samples], ScaleDistillation(steps=40, learning_rate=3e-3, batch_size=32, zeros=False), task=TASK
    )
    assert len(losses) == 40
    assert error(model, dense, samples) < 0.85 * was
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.scale", "3.scale"}


def test_zero_points_move_in_whole_codes(dense, samples):
    model = quantized(dense, samples)
    before = integer_layers(model)["3"].get_codes().zero
    distill_scales(
        model, dense, [samples], ScaleDistillation(steps=6, learning_rate=0.05, batch_size=32, zeros=True), task=TASK
    )
    after = integer_layers(model)["3"].get_codes().zero
    assert after.dtype == torch.uint8
    assert not torch.equal(after, before)
    assert int(after.max()) <= INT3.top


def test_zero_weights_stay_zero(dense, samples):
    with torch.no_grad():
        dense[3].weight.view(-1)[::2] = 0
    model = quantized(dense, samples)
    distill_scales(model, dense, [samples], ScaleDistillation(steps=5, batch_size=32, zeros=False), task=TASK)
    assert bool((integer_layers(model)["3"].weight()[dense[3].weight == 0] == 0).all())


def test_equal_seeds_give_equal_bits(dense, samples):
    states = []
    for _ in range(2):
        model = quantized(dense, samples)
        distill_scales(model, dense, [samples, samples[:10]], ScaleDistillation(steps=6, batch_size=16), task=TASK)
        states.append(model.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_divergence_leaves_the_model_as_it_was(dense, samples):
    model = quantized(dense, samples)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OverwinterError, match=r"Recovery diverged at step 1.*learning_rate"):
        distill_scales(model, dense, [torch.full_like(samples, torch.inf)], ScaleDistillation(steps=3), task=TASK)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_nothing_to_recover_is_refused(dense, samples):
    with pytest.raises(ConfigError, match="needs integer layers"):
        distill_scales(dense, dense, [samples], ScaleDistillation(steps=1), task=TASK)
    with pytest.raises(ConfigError, match="at least one calibration sample"):
        distill_scales(quantized(dense, samples), dense, [samples[:0]], ScaleDistillation(steps=1), task=TASK)
