"""A data source: labels, preprocessing, and three splits that share no sample."""

import csv
from pathlib import Path

import torch
from torch.utils.data import Dataset


class Points(Dataset):
    """A map-style dataset: ``len()``, and ``[index]`` gives (float tensor, int label)."""

    def __init__(self, rows: list[list[str]], scale: float) -> None:
        self._rows = rows
        self._scale = scale

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x, y, label = self._rows[index]
        return torch.tensor([float(x), float(y)]) / self._scale, int(label)


class Data:
    """Points on two spirals.

    Args:
        root: path of the CSV file: x, y, label. The path in ``data.root`` is a DVC dependency.
    """

    labels = ("left", "right")

    def __init__(self, root: str) -> None:
        self.preprocessing = {"mean": 0.0, "std": 10.0}  # (raw - mean) / std
        with Path(root).open(newline="") as stream:
            self._rows = list(csv.reader(stream))

    def split(self, name: str) -> Points:
        """Return ``train`` (three fifths of the rows), ``validation`` or ``test`` (a fifth each)."""
        fifths = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}[name]
        rows = [row for number, row in enumerate(self._rows) if number % 5 in fifths]
        return Points(rows, self.preprocessing["std"])
