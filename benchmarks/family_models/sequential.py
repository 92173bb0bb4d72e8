"""Networks for rows of numbers, series and texts, and transformers on PyTorch's own layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Mlp(nn.Module):
    """A multilayer perceptron on rows of numbers (n, features), with one number for each."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).squeeze(-1)


class LstmForecaster(nn.Module):
    """A two-layer LSTM over a series (n, steps, 1); the last state gives the next steps (n, horizon)."""

    def __init__(self, horizon: int = 6) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 32, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, horizon))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(series)  # (n, steps, 32)
        return self.head(states[:, -1])


class GruTagger(nn.Module):
    """A bidirectional GRU over tokens (n, length), with logits for each (n, length, classes)."""

    def __init__(self, classes: int = 3, vocabulary: int = 260) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 24, padding_idx=0)
        self.gru = nn.GRU(24, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(self.embedding(tokens))  # (n, length, 48)
        return self.head(states)


class TemporalBlock(nn.Module):
    def __init__(self, inside: int, outside: int, dilation: int) -> None:
        super().__init__()
        self.padding = 2 * dilation
        self.conv1 = nn.utils.parametrizations.weight_norm(nn.Conv1d(inside, outside, 3, dilation=dilation))
        self.conv2 = nn.Conv1d(outside, outside, 3, dilation=dilation)
        self.dropout = nn.Dropout(0.05)
        self.shortcut = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.dropout(torch.relu(self.conv1(functional.pad(x, (self.padding, 0)))))
        y = self.dropout(torch.relu(self.conv2(functional.pad(y, (self.padding, 0)))))
        return torch.relu(y + self.shortcut(x))


class TemporalConvNet(nn.Module):
    """Bai et al. (2018): causal dilated convolutions, some with weight normalization, over a series (n, steps, 1)."""

    def __init__(self, horizon: int = 6) -> None:
        super().__init__()
        self.blocks = nn.Sequential(TemporalBlock(1, 24, 1), TemporalBlock(24, 24, 2), TemporalBlock(24, 24, 4))
        self.head = nn.Linear(24, horizon)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(series.transpose(1, 2))[:, :, -1])


class RowsTransformer(nn.Module):
    """nn.TransformerEncoder (Vaswani et al. 2017) over the rows of an image (n, 8, 8), with a logit per label."""

    def __init__(self, labels: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 8, 32))
        layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(32, labels)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(rows) + self.positions).mean(dim=1))


class AttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        x = x + attended
        return x + self.mlp(self.norm2(x))


class AttentionViT(nn.Module):
    """Dosovitskiy et al. (2021) on nn.MultiheadAttention, as torchvision's: patches of an image (n, 1, 16, 16)."""

    def __init__(self, classes: int = 10, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.3 * torch.randn(1, 17, width))
        self.blocks = nn.Sequential(AttentionBlock(width), AttentionBlock(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)  # (n, 16, width)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])
