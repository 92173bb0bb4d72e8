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


class Raising(Auxiliary):
    """While training, forward() refuses the fourth batch: the model cannot be trained any more."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def forward(self, images):
        self.batches += self.training
        if self.batches > 3:
            raise ValueError("this batch is too small")
        return super().forward(images)


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


class Excited(nn.Module):
    """Squeeze and excitation in an inverted residual block: a gate for each channel."""

    def __init__(self):
        super().__init__()
        self.expand, self.spatial = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.project = nn.Conv2d(8, 3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        features = functional.silu(self.norms[0](self.expand(images)))
        features = functional.silu(self.norms[1](self.spatial(features)))
        gate = self.excite(functional.silu(self.squeeze(functional.adaptive_avg_pool2d(features, 1))))
        return self.head((images + self.project(features * torch.sigmoid(gate))).mean((2, 3)))


class Gated(nn.Module):
    """A gated feed-forward layer, called by keyword, on tokens; the first token is classified."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(64, 12), nn.Linear(64, 12), nn.Linear(12, 64)
        self.pool, self.head = nn.Linear(64, 6), nn.Linear(6, 2)

    def forward(self, images):
        tokens = images.flatten(2)
        tokens = tokens + self.down(input=functional.silu(self.gate(input=tokens)) * self.up(input=tokens))
        return self.head(torch.tanh(self.pool(tokens[:, 0])))


class SelfGated(nn.Module):
    """GELU written out: an activation that adds and multiplies its own input."""

    def __init__(self):
        super().__init__()
        self.up, self.head = nn.Linear(192, 12), nn.Linear(12, 2)

    def forward(self, images):
        values = self.up(images.flatten(1))
        return self.head(0.5 * values * (1.0 + torch.tanh(0.8 * (values + 0.04 * torch.pow(values, 3.0)))))


class ConvNextBlock(nn.Module):
    """Permutations around a LayerNorm and Linear layers, with a scale for each channel of the residual."""

    def __init__(self):
        super().__init__()
        self.spatial, self.norm = nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.LayerNorm(3)
        self.up, self.down, self.gamma = nn.Linear(3, 12), nn.Linear(12, 3), nn.Parameter(torch.ones(3))
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        features = self.norm(self.spatial(images).permute(0, 2, 3, 1))
        features = self.gamma * self.down(functional.gelu(self.up(features)))
        return self.head((images + features.permute(0, 3, 1, 2)).mean((2, 3)))


class Permuted(nn.Module):
    """Channels moved to the end for a Linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 2)

    def forward(self, images):
        return self.head(torch.relu(self.first(images)).permute(0, 2, 3, 1)).mean((1, 2))


class UNet(nn.Module):
    """A skip connection around a smaller picture, and an upsampling convolution; outputs as large as the input."""

    def __init__(self):
        super().__init__()
        self.left, self.before = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.low, self.deep = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.up, self.after = nn.ConvTranspose2d(6, 6, 2, stride=2), nn.Conv2d(12, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, images):
        left = torch.relu(self.before(torch.relu(self.left(images))))
        deep = torch.relu(self.deep(torch.relu(self.low(functional.max_pool2d(left, 2)))))
        return self.head(torch.relu(self.after(torch.cat([left, self.up(deep)], 1))))


class Encoder(nn.Module):
    """torch's own transformer layer, attention of its own, and a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 16, batch_first=True), 1)
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.memory = nn.LSTM(64, 8, batch_first=True)
        self.hidden, self.head = nn.Linear(8, 10), nn.Linear(10, 2)

    def forward(self, images):
        tokens = self.encoder(images.flatten(2))
        tokens, _ = self.attention(tokens, tokens, tokens)
        states, _ = self.memory(tokens)
        return self.head(torch.relu(self.hidden(states[:, -1])))


class Attention(nn.Module):
    """Attention written out with several heads, two of queries for each of keys and values, and no residual."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(64, 32), nn.Linear(64, 16), nn.Linear(64, 16)
        self.out, self.head = nn.Linear(32, 12), nn.Linear(12, 2)

    def forward(self, images):
        tokens = images.flatten(2)
        batch, length, _ = tokens.shape
        query, key, value = (
            layer(tokens).view(batch, length, -1, 8).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        key, value = (each[:, :, None].expand(-1, -1, 2, -1, -1).reshape(batch, -1, length, 8) for each in (key, value))
        scores = torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1)
        tokens = (scores @ value).transpose(1, 2).reshape(batch, length, -1)
        return self.head(self.out(tokens).mean(1))


class Fused(nn.Module):
    """Queries, keys and values from one layer, rotated by position, through torch's own attention."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(64, 48), nn.Linear(16, 64), nn.Linear(64, 2)
        self.register_buffer("rotation", torch.rand(3, 4))

    def forward(self, images):
        tokens = images.flatten(2)
        query, key, value = self.qkv(tokens).unflatten(-1, (3, -1, 4)).permute(2, 0, 3, 1, 4)
        query, key = query * self.rotation, torch.cat([-key[..., 2:], key[..., :2]], dim=-1) * self.rotation
        read = functional.scaled_dot_product_attention(query, key, value)
        return self.head((tokens + self.out(read.transpose(1, 2).flatten(2))).mean(1))


class Residual(nn.Module):
    """Two residual blocks on one stream, of which the second is concatenated with what it reads."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.outer = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.grow, self.head = nn.Conv2d(8, 4, 1), nn.Linear(12, 2)

    def forward(self, images):
        stream = functional.relu(self.norm(self.stem(images)))
        stream = stream + self.outer(functional.relu(self.inner(stream)))
        return self.head(torch.cat([stream, self.grow(stream)], dim=1).mean((2, 3)))


def new(kind):
    """A model whose normalisations have seen something, so that they are no identities."""
    torch.manual_seed(1)
    model = globals()[kind]().train()
    for _ in range(3):
        model(torch.randn(6, 3, 8, 8) * 2 + 1)
    return model.eval()
