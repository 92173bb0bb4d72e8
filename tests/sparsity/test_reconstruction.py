import copy

import pytest
import torch
from torch import nn

from overwinter.calibration.following import AdamFit
from overwinter.errors import ConfigError
from overwinter.sparsity import hold_masks, reconstruct_blocks
from overwinter.tasks import Classification

TASK = Classification(tuple("abcd"))
FIT = AdamFit(steps=40, learning_rate=3e-3, batch_size=16)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(12), nn.Linear(12, 24), nn.Linear(24, 12)

    def forward(self, states, scale):
        return states + self.down(torch.relu(self.up(self.norm(states)))) * scale


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.ModuleList(Block() for _ in range(3)), nn.Linear(12, 4)

    def forward(self, inputs):
        states = inputs * 2.0
        for block in self.blocks:
            states = block(states, torch.ones(()))
        return self.head(states)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return Blocks().eval()


@pytest.fixture
def samples():
    return torch.randn(64, 12, generator=torch.Generator().manual_seed(1))


def layers_of(model):
    return [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and name != "head"]


def halved(dense):
    model = copy.deepcopy(dense)
    with torch.no_grad():
        for name in layers_of(model):
            weight = model.get_submodule(name).weight
            weight.masked_fill_(weight.abs() < weight.abs().median(), 0.0)
    return model


def test_every_block_comes_closer_to_dense_with_its_masks_held(dense, samples):
    before = halved(dense)
    model = copy.deepcopy(before)
    done = []
    errors = reconstruct_blocks(
        model, dense, [samples], hold_masks(model, layers_of(model)), FIT, lambda *step: done.append(step), task=TASK
    )
    assert list(errors) == ["blocks.0.", "blocks.1.", "blocks.2."]
    assert all(each.after < 0.8 * each.before for each in errors.values())
    assert done == [(1, 3), (2, 3), (3, 3)]
    held_out = torch.randn(256, 12, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        was, now = (TASK.divergence(each(held_out), dense(held_out)).mean() for each in (before, model))
    assert now < 0.8 * was
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])
    }
    assert changed == {f"blocks.{block}.{part}.weight" for block in range(3) for part in ("up", "down")}
    assert all(torch.equal(tensor == 0, before.state_dict()[name] == 0) for name, tensor in model.state_dict().items())


def test_a_model_without_blocks_is_fitted_as_a_whole(samples):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4)).eval()
    model = halved(dense)
    errors = reconstruct_blocks(model, dense, [samples], hold_masks(model, ["0", "2"]), FIT, task=TASK)
    assert list(errors) == [""]
    assert errors[""].after < 0.8 * errors[""].before


def test_no_samples_are_refused(dense, samples):
    model = halved(dense)
    with pytest.raises(ConfigError, match="at least one calibration sample"):
        reconstruct_blocks(model, dense, [samples[:0]], hold_masks(model, layers_of(model)), FIT, task=TASK)
