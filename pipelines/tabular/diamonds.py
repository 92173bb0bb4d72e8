"""Prices of diamonds: the data, a network, and a loss that counts a tenth of a price alike for every stone."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import overwinter as ow
from overwinter.errors import IntegrityError
from overwinter.files import sha256 as sha256_of

FEATURES = ("carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z")
GRADES = {  # of the worst first
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": tuple("JIHGFED"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}
_LIMIT = 5.0  # standard deviations of a feature
SIZES = ("x", "y", "z")  # mm; zero where not measured


class Diamonds:
    """53,940 diamonds: nine features of each, and its price in USD. Equal rows and rows without a size are left out.

    Stones with the same features are in one split, so that no price is known from a twin.

    Args:
        root: the table, `diamonds.csv`, or its address.
        sha256: SHA-256 of the table; another is refused.
        split_seed: seed of the splits, which are random.
        validation_share: share of the stones, 0 to 1.
        test_share: share of the stones, 0 to 1.
    """

    labels = ("price",)

    def __init__(self, *, root: str, sha256: str, split_seed: int, validation_share: float, test_share: float) -> None:
        self._features, self._prices = read_table(ow.data.data_path(root), sha256)
        stones = np.unique(self._features, axis=0, return_inverse=True)[1]  # (n,)
        places = np.random.default_rng(split_seed).permutation(stones.max() + 1)[stones] / (stones.max() + 1)
        self._rows = {
            "test": places < test_share,
            "validation": (places >= test_share) & (places < test_share + validation_share),
            "train": places >= test_share + validation_share,
        }
        training = self._features[self._rows["train"]]
        self._mean, self._std = training.mean(axis=0), training.std(axis=0)  # (features,)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return the conversion of a row of features to model input: ``(raw - mean) / std``, each feature by itself."""
        return {
            "raw": {"dtype": "float32", "shape": [len(FEATURES)]},
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
        }

    def split(self, name: str) -> ow.data.InMemory:
        """Return ``train``, ``validation`` or ``test``: features (n, 9), prices (n,)."""
        rows = self._rows[name]
        features = ((self._features[rows] - self._mean) / self._std).astype(np.float32)
        return ow.data.InMemory(torch.from_numpy(features), torch.from_numpy(self._prices[rows].astype(np.float32)))


def read_table(path: Path, sha256: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features (n, 9), grades as numbers from 0, and prices (n,) in USD.

    Raises:
        IntegrityError: it is another table than ``sha256`` names.
    """
    if (found := sha256_of(path)) != sha256:
        raise IntegrityError(f"{path} is not the table that data.sha256 names: its SHA-256 is {found}.")
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if all(float(row[size]) for size in SIZES)]
    table = np.array([[*(_number(row, name) for name in FEATURES), float(row["price"])] for row in rows])
    table = np.unique(table, axis=0)
    return table[:, :-1], table[:, -1]


def _number(row: dict[str, str], feature: str) -> float:
    value = row[feature]
    return float(GRADES[feature].index(value)) if feature in GRADES else float(value)


class PriceNet(nn.Module):
    """A multi-layer perceptron that estimates the logarithm of a price and returns the price.

    A feature far outside, such as a stone of 58.9 mm, counts as one at the limit.

    Args:
        width: of each hidden layer.
        layers: number of hidden layers.
        typical_price: in USD, from which the network starts.
    """

    def __init__(self, *, width: int, layers: int, typical_price: float) -> None:
        super().__init__()
        widths = [len(FEATURES), *[width] * layers]
        hidden = [[nn.Linear(before, after), nn.ReLU()] for before, after in pairwise(widths)]
        self.network = nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(width, 1))
        self._typical_price = typical_price

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return prices (n,) in USD for features (n, 9)."""
        usual = features.clamp(-_LIMIT, _LIMIT)
        return self._typical_price * torch.exp(self.network(usual)[:, 0])


class RelativeError(nn.Module):
    """The mean absolute difference of the logarithms: 0.1 is about a tenth of the price."""

    def forward(self, prices: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return a scalar for prices (n,) and targets (n,), in USD."""
        return (prices.log() - targets.log()).abs().mean()
