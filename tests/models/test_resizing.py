import pytest
import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models import load_model, replace_tensors, save_model
from overwinter.models.resizing import resize_layers
from overwinter.signature import Signature


class Own(nn.Module):
    """A user module with every kind of layer that can be resized, and one that cannot."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.normalisation = nn.BatchNorm2d(width)
        self.mix = nn.Conv2d(width, 2, 1)
        self.head = nn.Linear(2 * 4 * 4, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images):
        features = self.mix(torch.relu(self.normalisation(self.depthwise(self.convolution(images)))))
        return self.head(torch.flatten(features, 1)) * self.scale


def narrowed(width: int) -> Own:
    model = Own().eval()
    replace_tensors(model.convolution, {"weight": torch.randn(width, 1, 3, 3), "bias": torch.randn(width)})
    replace_tensors(model.depthwise, {"weight": torch.randn(width, 1, 3, 3), "bias": torch.randn(width)})
    sizes = dict.fromkeys(("weight", "bias", "running_mean"), torch.randn(width))
    replace_tensors(model.normalisation, sizes | {"running_var": torch.rand(width) + 0.5})
    replace_tensors(model.mix, {"weight": torch.randn(2, width, 1, 1)})
    return model


def test_declared_sizes_follow_the_tensors():
    model = narrowed(3)
    assert (model.convolution.in_channels, model.convolution.out_channels) == (1, 3)
    assert (model.depthwise.groups, model.depthwise.in_channels, model.depthwise.out_channels) == (3, 3, 3)
    assert model.normalisation.num_features == 3
    assert model.mix.in_channels == 3


def test_a_users_module_is_rebuilt_without_its_removed_channels(tmp_path):
    model = narrowed(3)
    images = torch.randn(2, 1, 8, 8)
    config = {"_target_": f"{__name__}.Own"}
    save_model(
        tmp_path, model, variant="sparse", model_config=config, signature=Signature.of_one([1, 8, 8]), lineage={}
    )
    rebuilt = load_model(tmp_path, trusted=[__name__])
    assert torch.equal(rebuilt(images), model(images))


def test_a_removed_channel_survives_saving_and_loading(convnet, config, images, save, tmp_path):
    replace_tensors(convnet.head, {"weight": torch.randn(2, 6), "bias": torch.randn(2)})
    save(convnet, config)
    rebuilt = load_model(tmp_path / "model", trusted=[])
    assert rebuilt.head.out_features == 2
    assert torch.equal(rebuilt(images), convnet(images))


def test_a_frozen_parameter_stays_frozen():
    layer = nn.Linear(3, 3).requires_grad_(requires_grad=False)
    replace_tensors(layer, {"weight": torch.ones(2, 3)})
    assert not layer.weight.requires_grad


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(IntegrityError, match=r"scale has the shape \[2\], the rebuilt model \[3\]"):
        resize_layers(Own(), {"scale": [2]})
