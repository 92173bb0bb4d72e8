"""Modules as people write them, to find channels in."""

import warnings

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class Plain(nn.Module):
    """Convolutions, normalisation, pooling, flattening of several pixels per channel, hidden units."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.hidden = nn.Linear(6 * 16, 10)
        self.head = nn.Linear(10, 2)

    def forward(self, images):
        features = functional.max_pool2d(functional.relu(self.norm(self.first(images))), 2)
        features = torch.sigmoid(self.second(features))
        return self.head(functional.gelu(self.hidden(features.flatten(1))))


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1)
        self.spatial = nn.Conv2d(8, 8, 3, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.project = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        features = self.project(functional.relu6(self.norm(self.spatial(self.expand(images)))))
        return self.head(features.mean((2, 3)))


class Branches(nn.Module):
    """One producer, two consumers, joined by an addition that couples them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 2)

    def forward(self, images):
        stem = functional.relu(self.stem(images))
        return self.head(torch.flatten(self.left(stem) + self.right(stem), 1))


class Concatenated(Branches):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images):
        stem = functional.relu(self.stem(images))
        return self.head(torch.flatten(torch.cat([self.left(stem), self.right(stem)], 1), 1))


class Dynamic(nn.Module):
    """Control flow that depends on values: torch.fx cannot trace it."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 64, 2)

    def forward(self, images):
        if images.sum() > 0:
            images = -images
        return self.head(images.flatten(1))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images):
        return self.head(torch.flatten(self.second(self.first(self.first(images))), 1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 192)
        self.second = nn.Linear(192, 192)
        self.second.weight = self.first.weight
        self.head = nn.Linear(192, 2)

    def forward(self, images):
        return self.head(torch.relu(self.second(torch.relu(self.first(images.flatten(1))))))


class HardCoded(nn.Module):
    """A view with the number of channels written out: it runs only with all of them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images):
        return self.head(self.first(images).view(-1, 8 * 64))


class Viewed(nn.Module):
    """A view with sizes asked from the tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images):
        features = self.first(images).relu()
        return self.head(features.view(features.size(0), -1))


class Softmaxed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 2, 8)

    def forward(self, images):
        return self.second(torch.softmax(self.first(images), 1)).flatten(1)


class Tokens(nn.Module):
    """Linear layers on (batch, tokens, features)."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(64, 12)
        self.down = nn.Linear(12, 4)
        self.head = nn.Linear(12, 2)

    def forward(self, images):
        tokens = images.flatten(2)
        return self.head(torch.flatten(self.down(functional.gelu(self.up(tokens))), 1))


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images):
        return self.head(torch.flatten(self.grouped(self.first(images)), 1))


class Functional(nn.Module):
    """A layer's weight is used without calling the layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, images):
        return self.head(functional.linear(images.flatten(1), self.first.weight))


class Auxiliary(nn.Module):
    """A second head helps while training."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.helper = nn.Linear(8, 2)
        self.head = nn.Linear(6, 2)

    def forward(self, images):
        early = functional.relu(self.first(images))
        logits = self.head(functional.relu(self.second(early)).mean((2, 3)))
        return logits + self.helper(early.mean((2, 3))) if self.training else logits


class Regularized(Auxiliary):
    """While training, channels are mixed without a layer."""

    def forward(self, images):
        early = functional.relu(self.first(images))
        logits = self.head(functional.relu(self.second(early)).mean((2, 3)))
        return logits + 0.1 * early.mean((1, 2, 3))[:, None] if self.training else logits


class Asserting(Auxiliary):
    """While training, forward() does what cannot be traced."""

    def forward(self, images):
        early = functional.relu(self.first(images))
        if self.training and early.sum() < 0:
            raise ValueError
        return self.head(functional.relu(self.second(early)).mean((2, 3)))


class WeightNormed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        self.second = nn.Conv2d(8, 4, 3)
        self.third = parametrizations.spectral_norm(nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        features = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(torch.relu(self.third(features)).mean((2, 3)))


class WeightNormedByHooks(WeightNormed):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still in use
            self.first = nn.utils.weight_norm(nn.Conv2d(3, 8, 3))
        self.third = nn.utils.spectral_norm(nn.Conv2d(4, 4, 3))
