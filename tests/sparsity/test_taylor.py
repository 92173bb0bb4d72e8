"""What the loss would change without a channel, to first order."""

import pytest
import torch

from overwinter.data import InMemory, Split
from overwinter.errors import OverwinterError
from overwinter.sparsity import Channels, find_channel_groups
from overwinter.sparsity.protocol import Calibration
from overwinter.sparsity.taylor import taylor_importance
from overwinter.sparsity.tracing import TAKES
from overwinter.tasks import Classification
from tests.sparsity import zoo
from tests.sparsity.test_dependencies import IMAGES

TASK = Classification(["a", "b"])
SHARE = 1e-2


@torch.no_grad()
def loss_with_less(model, group, channel, inputs, targets):
    """The loss when a channel counts a little less wherever it is taken in."""
    parameters = dict(model.named_parameters())
    for place in group.places:
        if TAKES in place.roles:
            parameters[place.tensor].transpose(0, place.dimension)[place.indices[channel]] *= 1 - SHARE
    return float(TASK.loss(model(inputs), targets))


@pytest.mark.parametrize("kind", ["Plain", "Residual"])
def test_it_is_the_squared_slope_of_the_loss(kind, train):
    model = zoo.new(kind).requires_grad_(False)
    groups, _ = find_channel_groups(model, IMAGES)
    inputs, targets = train.use(TASK).first(16)
    whole = float(TASK.loss(model(inputs), targets))
    few = Split(InMemory(inputs, targets))
    found = taylor_importance(model, groups, few, TASK, samples=16, seed=0)
    for group, importance in zip(groups, found, strict=True):
        slope = (loss_with_less(zoo.new(kind), group, 0, inputs, targets) - whole) / SHARE
        assert float(importance[0]) ** 0.5 == pytest.approx(abs(slope), rel=0.05, abs=1e-4)


def test_channels_that_the_loss_does_not_notice_go_first(channels_config, train):
    model = zoo.new("Plain")
    with torch.no_grad():
        model.second.weight[:, ::2] = 1e-6
        model.first.weight[::2] *= 1e3  # whose norms are large
    sparsifier = Channels(channels_config(importance="taylor", calibration_samples=16))
    sparsifier.calibrate_with(Calibration(task=TASK))
    kept = model.first.weight[1::2].clone()
    sparsifier.prepare(model, train)
    assert torch.equal(model.first.weight, kept)


def test_without_a_task_there_are_no_gradients(channels_config, train):
    with pytest.raises(OverwinterError, match=r"sparsify\.importance=taylor needs the task"):
        Channels(channels_config(importance="taylor")).prepare(zoo.new("Plain"), train)
