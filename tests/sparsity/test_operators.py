"""What functions do with labels: a weight of six features makes them, a function moves or mixes them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.sparsity.operators import RULES, unknown
from overwinter.sparsity.tracing import Marks, trace

FEATURES = 6
TOGETHER, APART, STAY = "together", "apart", "stay"
# A function of images (2, 6, 4, 4) after a 1x1 convolution, and what becomes of its six channels.
FUNCTIONS = [
    (lambda x: x.flatten(1), APART),
    (lambda x: x.flatten(2).transpose(1, 2), APART),
    (lambda x: x.view(2, 3, 2, 16).permute(0, 2, 1, 3).reshape(2, 6, 16), APART),
    (lambda x: x.mean((2, 3)), APART),
    (lambda x: x.mean((-1, -2), keepdim=True), APART),
    (lambda x: x.mean(dim=1), STAY),
    (lambda x: x.sum(), STAY),
    (lambda x: torch.movedim(x, 1, -1), APART),
    (lambda x: x[:, :, 0], APART),
    (lambda x: x[:, 0], STAY),
    (lambda x: x[:, 1:], STAY),
    (lambda x: x.unflatten(1, (2, 3))[:, 0], TOGETHER),
    (lambda x: x.chunk(2, dim=1), TOGETHER),
    (lambda x: x.split(3, dim=1), TOGETHER),
    (lambda x: x.split(4, dim=1), STAY),
    (lambda x: x.split([3, 3], dim=1), TOGETHER),
    (lambda x: x.roll(1, dims=1), STAY),
    (lambda x: x.roll(1, dims=2), APART),
    (lambda x: torch.cat([x, x.relu()], 1), APART),
    (lambda x: functional.pad(x, (1, 1, 1, 1)), APART),
    (lambda x: functional.max_pool2d(x, 2), APART),
    (lambda x: functional.interpolate(x, scale_factor=2.0), APART),
    (lambda x: functional.adaptive_avg_pool2d(x, 1), APART),
    (lambda x: torch.softmax(x, 1), STAY),
    (lambda x: torch.softmax(x, -1), APART),
    (lambda x: x * 2 + 1, APART),
    (lambda x: x + torch.ones(6, 1, 1), STAY),
    (lambda x: x + torch.ones(4, 4), APART),
    (lambda x: x.unflatten(1, (2, 3)) * torch.ones(3, 1, 1), TOGETHER),
    (lambda x: functional.glu(x, 1), TOGETHER),
    (lambda x: functional.layer_norm(x, (4,)), APART),
    (lambda x: functional.layer_norm(x.transpose(1, 3), (6,)), STAY),
    (lambda x: functional.group_norm(x, 2), STAY),
    (torch.fft.fft, STAY),
    (lambda x: x.cumsum(1), STAY),
    (lambda x: x.clone().mul_(2), APART),
    (lambda x: x * x.new_tensor(x.tolist()), STAY),
    (lambda x: x.flatten(2).transpose(1, 2) @ x.flatten(2), STAY),
    (lambda x: x.flatten(2) @ torch.ones(16, 3), APART),
]


class After(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Conv2d(3, FEATURES, 1), function

    def forward(self, images):
        self.function(self.layer(images))
        return images


@pytest.mark.parametrize(("function", "expected"), FUNCTIONS)
def test_channels_are_followed_or_given_up(function, expected):
    marks = Marks()
    trace(After(function).eval(), torch.rand(2, 3, 4, 4), marks, RULES, unknown)
    numbers, reasons = marks.couplings.components()
    found = numbers[marks.labels["layer.weight", 0]].tolist()
    stays = any(number in reasons for number in found)
    apart = len(set(found)) == FEATURES
    assert (STAY if stays else APART if apart else TOGETHER) == expected
