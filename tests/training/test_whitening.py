"""A first convolution that whitens."""

import pytest
import torch
from torch import nn

from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError
from overwinter.training import whiten_first_convolution
from overwinter.training.device import fast_layout, laid_out
from tests.training.test_loop import Dies, same_bits, weights


def smooth(samples=64, channels=1):
    """Images whose neighbouring pixels are alike."""
    noise = torch.randn(samples, channels, 12, 12, generator=torch.Generator().manual_seed(0))
    return Split(InMemory(nn.functional.avg_pool2d(noise, 3, 1, 1) + 0.5, torch.arange(samples) % 2))


def network(channels=1, filters=32, normalisation=True):
    torch.manual_seed(0)
    norm = [nn.BatchNorm2d(filters)] if normalisation else []
    return nn.Sequential(nn.Conv2d(channels, filters, 3), *norm, nn.ReLU(), nn.Conv2d(filters, 2, 3), nn.Flatten())


def whiten(model, split, samples=64):
    return whiten_first_convolution(model, split, samples=samples, seed=0)


def test_outputs_have_equal_power_and_the_pairs_are_uncorrelated():
    model, split = network(), smooth()
    whiten(model, split)
    outputs = model[0](split.dataset.inputs).detach().transpose(0, 1).flatten(1)  # (filters, places)
    outputs = outputs - model[0].bias.detach()[:, None]
    powers = outputs.square().mean(1)
    assert powers[:4] == pytest.approx(torch.ones(4), rel=0.1)
    product = (outputs[0:8:2] @ outputs[0:8:2].T) / outputs.shape[1]
    assert (product - product.diag().diag()).abs().max() < 0.05
    assert torch.equal(model[0].weight[0], -model[0].weight[1])


def test_the_normalisation_behind_it_gets_the_statistics_and_is_frozen_too():
    model, split = network(), smooth()
    found = whiten(model, split)
    assert found.name == "0"
    assert found.frozen == (model[0], model[1])
    assert [name for name, each in model.named_parameters() if each.requires_grad] == ["0.bias", "3.weight", "3.bias"]
    outputs = model[0](split.dataset.inputs) - model[0].bias[:, None, None]
    assert torch.allclose(model[1].running_mean, outputs.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(model[1].running_var, outputs.var((0, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize(("channels", "filters"), [(3, 8), (1, 18), (2, 50)])
def test_any_number_of_filters_is_filled(channels, filters):
    model = network(channels, filters, normalisation=False)
    assert whiten(model, smooth(channels=channels)).frozen == (model[0],)
    assert torch.linalg.matrix_rank(model[0].weight.flatten(1)) == min(filters // 2, 9 * channels)


def test_channels_innermost_change_nothing():
    model, other = network(), laid_out(network())
    for each in (model, other):
        whiten(each, smooth())
    assert same_bits(model.state_dict(), other.state_dict())
    assert fast_layout(other[0].weight).stride() == other[0].weight.stride()


def test_batch_statistics_and_mode_of_other_layers_stay():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    assert whiten(model.train(), smooth()).frozen == (model[0],)
    assert model[2].training
    assert torch.equal(model[2].running_mean, torch.zeros(4))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(144, 2)),
        nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 2, 3)),
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)),
    ],
)
def test_a_model_that_does_not_begin_with_a_convolution_is_refused(model):
    channels = 2 if isinstance(model[0], nn.Conv2d) else 1
    with pytest.raises(ConfigError, match="needs a first layer that is a convolution of all channels of the images"):
        whiten(model, smooth(channels=channels))


def test_inputs_that_are_no_images_are_refused():
    with pytest.raises(ConfigError, match="is for images"):
        whiten(nn.Linear(3, 2), Split(InMemory(torch.randn(8, 3), torch.zeros(8, dtype=torch.int64))))


def test_a_fit_keeps_it_and_a_killed_one_ends_with_equal_bits(fit, new_model, train, tmp_path):
    def fitted(**arguments):
        model = new_model()
        frozen = whiten(model, train).frozen
        before = {name: tensor.clone() for name, tensor in model[:2].state_dict().items()}
        result = fit(model=model, frozen=frozen, **arguments)
        after = result.model[:2].state_dict()
        kept = ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        assert all(torch.equal(before[name], after[name]) for name in kept)
        return result

    with pytest.raises(Dies.Killed):
        fitted(loss=Dies(8), checkpoints=tmp_path)
    resumed = fitted(checkpoints=tmp_path)
    assert resumed.resumed
    assert same_bits(weights(resumed), weights(fitted()))
