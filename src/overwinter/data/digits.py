"""Handwritten digits, 1797 images of 8x8, from scikit-learn's wheel.

They are the test set of `Optical Recognition of Handwritten Digits`_ in the UCI repository (Alpaydin and
Kaynak, 1998). The file is read without importing scikit-learn, which takes more than a second in every stage.

.. _Optical Recognition of Handwritten Digits: https://doi.org/10.24432/C50P49
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.data.augmentation import image_augmentation
from overwinter.data.in_memory import InMemory, shuffled_by_class
from overwinter.data.protocol import SPLITS
from overwinter.errors import ConfigError, IntegrityError

_SIDE = 8
_LARGEST = 16.0


class Digits:
    """scikit-learn's digits as float tensors (1, 8, 8), zero mean and unit variance over the training split.

    Args:
        sha256: SHA-256 of the uncompressed table; another table is refused.
        split_seed: seed of the splits, which are stratified.
        validation_share: share of all samples, 0 to 1.
        test_share: share of all samples, 0 to 1.
        shift_pixels: augmentation: largest shift of an image while training.

    Raises:
        ConfigError: scikit-learn is not installed, or a share is not valid.
        IntegrityError: the table is not the one that ``sha256`` names.
    """

    labels = tuple(str(digit) for digit in range(10))

    def __init__(
        self,
        *,
        sha256: str,
        split_seed: int,
        validation_share: float,
        test_share: float,
        shift_pixels: int = 0,
    ) -> None:
        _check_shares(validation_share, test_share)
        table = _read_table(digits_file(), sha256)
        self._images = table[:, :-1].reshape(-1, 1, _SIDE, _SIDE)
        self._labels = table[:, -1].astype(np.int64)
        self._members = self._split_members(split_seed, validation_share, test_share)
        self._shift_pixels = shift_pixels
        training = self._images[self._members["train"]]
        self._mean, self._std = float(training.mean()), float(training.std())

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return the conversion of raw pixels to model input: ``(pixel - mean) / std``."""
        return {
            "raw": {"dtype": "uint8", "shape": [_SIDE, _SIDE], "range": [0, int(_LARGEST)]},
            "input": {"dtype": "float32", "shape": [1, _SIDE, _SIDE]},
            "formula": "(raw - mean) / std",
            "mean": self._mean,
            "std": self._std,
        }

    def split(self, name: str) -> InMemory:
        """Return ``train``, ``validation`` or ``test``."""
        members = self._members[name]
        inputs = torch.from_numpy(((self._images[members] - self._mean) / self._std).astype(np.float32))
        fill = (0.0 - self._mean) / self._std
        transform = image_augmentation(shift_pixels=self._shift_pixels, flip=False, fill=fill)
        labels = torch.from_numpy(self._labels[members])
        return InMemory(inputs, labels, transform=transform if name == "train" else None)

    def _split_members(self, seed: int, validation_share: float, test_share: float) -> dict[str, NDArray[np.int64]]:
        order = shuffled_by_class(self._labels, seed)
        test = round(len(order) * test_share)
        validation = round(len(order) * validation_share)
        parts = order[test + validation :], order[test : test + validation], order[:test]
        return dict(zip(SPLITS, parts, strict=True))


def digits_file() -> Path:
    """Return the path of the table in the installed scikit-learn.

    Raises:
        ConfigError: scikit-learn, or the table in it, is missing.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise ConfigError("scikit-learn, which contains the digits, is not installed. `pip install scikit-learn`")
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise ConfigError(f"{path} is missing. Install scikit-learn again.")
    return path


def _read_table(path: Path, sha256: str) -> NDArray[np.float64]:
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. Install scikit-learn again.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise IntegrityError(
            f"{path} is not the table that data.sha256 names: its SHA-256 is {found}, not {sha256}.\n"
            "If you trust this scikit-learn, put the new digest into configs/data/digits.yaml."
        )
    return np.loadtxt(content.decode().splitlines(), delimiter=",")


def _check_shares(validation_share: float, test_share: float) -> None:
    for key, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise ConfigError(f"data.{key}={share} must be above 0 and below 1.")
    if validation_share + test_share >= 1:
        raise ConfigError(
            f"data.validation_share={validation_share} and data.test_share={test_share} leave nothing to "
            "train on. Lower one of them."
        )
