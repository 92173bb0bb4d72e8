import pytest
import torch
from torch import nn

from overwinter.calibration.walk import Gait, walk_blocks
from overwinter.errors import OverwinterError

LAYERS = ["blocks.0.0", "blocks.1.0", "blocks.2.0", "head"]
PRUNING = Gait(follows=True, compares=False, quickly=False)


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4, bias=False)) for _ in range(3))
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            inputs = block(inputs)
        return self.head(inputs)


class Doubling:
    """Doubles each layer's weight, and remembers what its layers were given."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.events = model, []
        self.inputs, self.dense = {}, {}

    def observe(self, inputs, dense):
        self.events.append(("observe", *inputs))
        for name in inputs:
            self.inputs.setdefault(name, []).extend(inputs[name])
            self.dense.setdefault(name, []).extend(dense[name])

    def change(self, layers):
        self.events.append(("change", *layers))
        for name in layers:
            self.model.get_submodule(name).weight.mul_(2.0)


def walked(gait=PRUNING, **options):
    torch.manual_seed(0)
    model, samples = Stack().eval(), torch.randn(5, 4)
    work = Doubling(model)
    with torch.no_grad():
        walk_blocks(model, LAYERS, [samples[:3], samples[3:]], work, gait, **options)
    return model, samples, work


def test_a_block_is_observed_on_all_batches_then_changed():
    *_, work = walked()
    expected = [event for name in LAYERS for event in (("observe", name), ("observe", name), ("change", name))]
    assert work.events == expected


@pytest.mark.parametrize(("follows", "factor"), [(True, 2.0), (False, 1.0)])
def test_a_block_is_given_what_the_gait_says(follows, factor):
    model, samples, work = walked(Gait(follows=follows, compares=False, quickly=False))
    first = model.blocks[0][0].weight / 2
    torch.testing.assert_close(torch.cat(work.inputs["blocks.1.0"]), factor * samples @ first.T)


def test_the_dense_models_inputs_are_compared():
    _, _, work = walked(Gait(follows=True, compares=True, quickly=False))
    for power, name in enumerate(LAYERS[:3]):
        for given, dense in zip(work.inputs[name], work.dense[name], strict=True):
            torch.testing.assert_close(given, 2.0**power * dense.float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_changes_in_place_last_wherever_they_are_computed(device):
    torch.manual_seed(0)
    before = Stack()
    model, *_ = walked(device=device)
    for name in LAYERS:
        torch.testing.assert_close(model.get_submodule(name).weight, 2 * before.get_submodule(name).weight)
        assert model.get_submodule(name).weight.device == torch.device("cpu")


def test_progress_counts_layers():
    messages = []
    walked(progress=lambda done, total: messages.append((done, total)))
    assert messages == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_broken_inputs_name_the_layer():
    model = Stack().eval()
    with torch.no_grad():
        model.blocks[0][0].weight.fill_(torch.inf)
        with pytest.raises(OverwinterError, match=r"blocks\.1\.0 is given NaN or infinity"):
            walk_blocks(model, LAYERS[1:], [torch.ones(2, 4)], Doubling(model), PRUNING)
