import copy

import pytest
import torch
from torch import nn

from overwinter.calibration import precision
from overwinter.calibration.following import AdamFit
from overwinter.errors import OverwinterError
from overwinter.sparsity import distill_weights, hold_masks
from overwinter.tasks import Classification, LanguageModeling, Regression

CLASSES, NUMBERS = Classification(tuple("abcd")), Regression(tuple("abcd"))


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 4)).eval()


@pytest.fixture
def samples():
    return torch.randn(64, 12, generator=torch.Generator().manual_seed(1))


def halved(dense):
    """A copy without the smaller half of each layer's weights."""
    model = copy.deepcopy(dense)
    with torch.no_grad():
        for name in ("0", "3"):
            weight = model.get_submodule(name).weight
            weight.masked_fill_(weight.abs() < weight.abs().median(), 0.0)
    return model


def fit(**changes):
    return AdamFit(**({"steps": 60, "learning_rate": 3e-3, "batch_size": 32} | changes))


def distilled(dense, samples, task, **changes):
    model = halved(dense)
    return model, distill_weights(model, dense, samples, hold_masks(model, ["0", "3"]), fit(**changes), task=task)


@pytest.mark.parametrize("task", [CLASSES, NUMBERS])
def test_it_comes_closer_to_dense_and_moves_only_the_kept_weights(dense, samples, task):
    held_out = torch.randn(256, 12, generator=torch.Generator().manual_seed(2))
    before = halved(dense)
    model, losses = distilled(dense, [samples], task)
    with torch.inference_mode():
        was, now = (task.divergence(each(held_out), dense(held_out)).mean() for each in (before, model))
    assert len(losses) == 60
    assert now < 0.7 * was
    for name, tensor in model.state_dict().items():
        old = before.state_dict()[name]
        assert torch.equal(tensor == 0, old == 0)
        assert torch.equal(tensor, old) is (name not in {"0.weight", "3.weight"})


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.up = nn.Embedding(16, 24), nn.Linear(24, 48)
        self.down, self.head = nn.Linear(48, 24), nn.Linear(24, 16)

    def forward(self, tokens):
        states = self.embedding(tokens)
        return self.head(states + self.down(torch.relu(self.up(states)))).float()


@pytest.mark.parametrize("quick", [True, False])
def test_a_language_model_computes_in_bfloat16_and_its_weights_stay_in_float32(monkeypatch, quick):
    monkeypatch.setattr(precision, "is_quick", lambda _device: quick)
    torch.manual_seed(0)
    dense, tokens = Language().eval(), torch.randint(0, 16, (32, 8))
    model = copy.deepcopy(dense)
    with torch.no_grad():
        model.up.weight.masked_fill_(model.up.weight.abs() < model.up.weight.abs().median(), 0.0)
    before, kinds = copy.deepcopy(model.state_dict()), set()
    model.up.register_forward_hook(lambda _layer, _inputs, output: kinds.add(output.dtype))
    fit_ = fit(steps=40, batch_size=8)
    losses = distill_weights(model, dense, [tokens], hold_masks(model, ["up"]), fit_, task=LanguageModeling(()))
    assert kinds == {torch.bfloat16 if quick else torch.float32}
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert model.up.weight.dtype == torch.float32
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"up.weight"}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_batches_of_several_shapes_take_turns(dense, samples):
    _, losses = distilled(dense, [samples[:8], samples[8:24]], CLASSES, steps=4, batch_size=8)
    assert len(losses) == 4


def test_equal_seeds_give_equal_bits(dense, samples):
    first, second = (distilled(dense, [samples], CLASSES, steps=5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_divergence_names_the_setting(dense, samples):
    with pytest.raises(OverwinterError, match=r"diverged at step 1.*sparsify\.recovery\.learning_rate"):
        distilled(dense, [torch.full_like(samples, torch.inf)], CLASSES)
