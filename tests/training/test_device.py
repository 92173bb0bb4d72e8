import pytest
import torch
from torch import nn

from overwinter import training
from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError
from overwinter.tasks import Classification
from overwinter.training import pick_device
from overwinter.training.device import fast_layout, pick_layout, plain_layout
from tests.support.settings import fit_settings


def test_auto_takes_what_there_is():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=f"device='{name}'"):
        pick_device(name)


def test_images_get_their_channels_innermost_and_keep_their_values():
    images = torch.randn(2, 3, 4, 5)
    laid_out = fast_layout(images)
    assert laid_out.stride(1) == 1
    assert torch.equal(laid_out, images)


def test_other_tensors_stay_as_they_are():
    tokens = torch.randn(2, 3)
    assert fast_layout(tokens) is tokens


class Flattens(nn.Module):
    """The textbook network: a convolution, a flattening, a classifier."""

    def __init__(self, side=4):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4 * side * side, 3)

    def forward(self, images):
        return self.head(torch.relu(self.convolution(images)).flatten(1))


class Views(Flattens):
    def forward(self, images):
        return self.head(torch.relu(self.convolution(images)).view(images.size(0), -1))


class ViewsWhileTraining(Flattens):
    def forward(self, images):
        convolved = torch.relu(self.convolution(images))
        return self.head(convolved.view(images.size(0), -1) if self.training else convolved.flatten(1))


class ReadsMemory(Flattens):
    """In another layout it computes something else, and nothing fails."""

    def forward(self, images):
        convolved = torch.relu(self.convolution(images))
        return self.head(convolved.as_strided((len(images), 64), (64, 1)))


class CannotBeCopied(Flattens):
    def __deepcopy__(self, memo):
        raise RuntimeError("no")


IMAGES = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", [Views, ViewsWhileTraining, ReadsMemory, CannotBeCopied])
def test_a_model_that_cannot_compute_with_channels_last_keeps_the_plain_layout(model):
    assert pick_layout(model(), IMAGES) is plain_layout


def test_a_model_that_can_gets_it_and_stays_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(2), Flattens())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    assert pick_layout(model, IMAGES) is fast_layout
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None and parameter.is_contiguous() for parameter in model.parameters())
    assert torch.equal(drawn, torch.random.get_rng_state())


def test_what_is_no_image_is_not_tried():
    assert pick_layout(CannotBeCopied(), torch.ones(3, 2)) is plain_layout


@pytest.mark.parametrize("model", [Flattens, Views, ViewsWhileTraining])
def test_every_model_is_trained_and_evaluated_in_the_layout_that_it_takes(model):
    split, task = Split(InMemory(IMAGES, torch.tensor([0, 1, 2, 0, 1]))), Classification(["a", "b", "c"])
    torch.manual_seed(0)
    fitted = training.fit(model(), split, split, fit_settings(), task=task, seed=0, device=torch.device("cpu"))
    score = training.evaluate(fitted.model, split, task)
    assert score.loss == pytest.approx(fitted.best_validation_loss, rel=1e-4)
