"""CO2 in the air of Mauna Loa, week by week: windows of the past, the half year that follows, and a network."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
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

_YEAR = 52  # weeks


class MaunaLoa:
    """2,284 weekly means from March 1958 to December 2001, in ppm, split by time.

    A split's windows forecast weeks of its own years only; the past that they start from may be of the split before. A
    window with a week to forecast that was not measured is left out; such weeks of the past are filled from the past.

    Args:
        root: the table, `co2.csv`, or its address.
        sha256: SHA-256 of the table; another is refused.
        past_weeks: length of an input.
        next_weeks: length of a forecast.
        validation_from: year in which the validation split begins.
        test_from: year in which the test split begins.
    """

    labels = ("CO2",)
    preprocessing: dict[str, Any] = {}  # noqa: RUF012 -- inputs are ppm as they are

    def __init__(
        self, *, root: str, sha256: str, past_weeks: int, next_weeks: int, validation_from: int, test_from: int
    ) -> None:
        years, self._ppm = read_series(ow.data.data_path(root), sha256)
        validation, test = (int(np.searchsorted(years, year)) for year in (validation_from, test_from))
        self._weeks = {"train": (0, validation), "validation": (validation, test), "test": (test, len(years))}
        self._past, self._next = past_weeks, next_weeks

    def split(self, name: str) -> ow.data.InMemory:
        """Return ``train``, ``validation`` or ``test``: the past (n, past_weeks) and the next (n, next_weeks) weeks."""
        first, end = self._weeks[name]
        measured = ~np.isnan(self._ppm)
        starts = [
            week
            for week in range(max(first, self._past), end - self._next + 1)
            if measured[week : week + self._next].all()
        ]
        known = filled(self._ppm)
        past = np.stack([known[week - self._past : week] for week in starts])
        following = np.stack([known[week : week + self._next] for week in starts])
        return ow.data.InMemory(torch.from_numpy(past), torch.from_numpy(following))


def read_series(path: Path, sha256: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the year and the ppm of each week (weeks,); NaN where nothing was measured.

    Raises:
        IntegrityError: it is another table than ``sha256`` names.
    """
    if (found := sha256_of(path)) != sha256:
        raise IntegrityError(f"{path} is not the table that data.sha256 names: its SHA-256 is {found}.")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    years = [datetime.strptime(row["date"], "%Y%m%d").replace(tzinfo=UTC).year for row in rows]
    ppm = [float(row["co2"]) if row["co2"] else np.nan for row in rows]
    return np.array(years), np.array(ppm, dtype=np.float32)


def filled(ppm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the series (weeks,) without gaps: the week before, changed as in the same week of the year before."""
    known = ppm.copy()
    for week in np.flatnonzero(np.isnan(ppm)):
        change = known[week - _YEAR] - known[week - _YEAR - 1] if week > _YEAR else 0.0
        known[week] = known[week - 1] + change
    return known


class WeeksAhead(nn.Module):
    """A multi-layer perceptron on the past two years, as differences from the level of their last weeks.

    Args:
        past_weeks: length of an input.
        next_weeks: length of a forecast.
        width: of each hidden layer.
        layers: number of hidden layers.
        level_weeks: number of the last weeks whose mean is the level.
        scale_ppm: by which differences are divided.
        dropout: dropout probability of the hidden layers' outputs.
    """

    def __init__(
        self,
        *,
        past_weeks: int,
        next_weeks: int,
        width: int,
        layers: int,
        level_weeks: int = 8,
        scale_ppm: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [past_weeks, *[width] * layers]
        hidden = [[nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)] for before, after in pairwise(widths)]
        self.network = nn.Sequential(*(layer for group in hidden for layer in group), nn.Linear(width, next_weeks))
        self._level_weeks, self._scale_ppm = level_weeks, scale_ppm

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        """Return the next weeks (n, next_weeks) after the past (n, past_weeks), in ppm."""
        level = past[:, -self._level_weeks :].mean(dim=1, keepdim=True)  # (n, 1)
        return level + self._scale_ppm * self.network((past - level) / self._scale_ppm)
