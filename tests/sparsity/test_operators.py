import pytest
import torch
from torch import nn

from overwinter.sparsity.operators import Channels, moved
from overwinter.sparsity.tracing import trace


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


PLACES = [
    (lambda x: x.flatten(1), 1, Channels(dimension=1, block=20)),
    (lambda x: x.flatten(2), 1, Channels(dimension=1)),
    (lambda x: x.view(2, 3, 2, 10), 1, Channels(dimension=1)),
    (lambda x: x.reshape(-1, 5), 3, Channels(dimension=1)),
    (lambda x: x.flatten(1), 3, None),
    (lambda x: x.mean((2, 3)), 1, Channels(dimension=1)),
    (lambda x: x.mean((-1, -2), keepdim=True), 1, Channels(dimension=1)),
    (lambda x: x.sum(1), 3, Channels(dimension=2)),
    (lambda x: x.mean(dim=1), 1, None),
    (lambda x: x.mean(), 1, None),
    (lambda x: x.permute(0, 2, 3, 1), 1, Channels(dimension=3)),
    (lambda x: torch.permute(x, (0, 3, 1, 2)), 3, Channels(dimension=1)),
    (lambda x: x.transpose(1, -1), 1, Channels(dimension=3)),
    (lambda x: x.movedim(1, -1), 1, Channels(dimension=3)),
    (lambda x: x[:, 0], 3, Channels(dimension=2)),
    (lambda x: x[:, 0], 1, None),
    (lambda x: x[..., :2], 3, None),
    (lambda x: nn.functional.pad(x, (1, 1, 1, 1)), 1, Channels(dimension=1)),
    (lambda x: nn.functional.pad(x, (1, 1)), 3, None),
    (lambda x: nn.functional.max_pool2d(x, 2), 1, Channels(dimension=1)),
    (lambda x: nn.functional.max_pool2d(x, 2), 3, None),
    (lambda x: torch.softmax(x, 1), 1, None),
]


@pytest.mark.parametrize(("function", "dimension", "expected"), PLACES)
def test_channels_are_followed_or_given_up(function, dimension, expected):
    found = trace(Function(function), torch.zeros(2, 3, 4, 5))
    (step,) = (each for each in found.steps if each.outputs)
    assert moved(step.inputs[0], step, None, Channels(dimension=dimension)) == expected
