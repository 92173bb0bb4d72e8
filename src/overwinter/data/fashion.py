"""Fashion-MNIST: 60,000 + 10,000 images of clothes, 28x28, ten classes (Xiao, Rasul and Vollgraf, 2017).

https://github.com/zalandoresearch/fashion-mnist, as four IDX files in one folder. Other files in this format work
too, such as MNIST itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.data.augmentation import image_augmentation
from overwinter.data.idx import read_idx
from overwinter.data.in_memory import InMemory, shuffled_by_class
from overwinter.data.local_files import fashion_file, fashion_folder
from overwinter.errors import ConfigError, IntegrityError

_CLASSES = 10


class FashionMnist:
    """Fashion-MNIST as float tensors (1, 28, 28), zero mean and unit variance over the training files.

    Args:
        root: folder of the four IDX files, gzipped or plain; None: the folder of Debian's package.
        split_seed: seed that selects the validation images; both parts are stratified.
        validation_samples: The number of training images held out for validation.
        shift_pixels: augmentation: largest shift of an image while training.
        flip: augmentation: whether images are mirrored while training, at random, or ``alternating`` from one epoch to
            the next.

    Raises:
        ConfigError: the folder or a file is missing, or the split is not possible.
        IntegrityError: a file is damaged, or images and labels differ in number.
    """

    labels = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )

    def __init__(
        self,
        *,
        root: str | None,
        split_seed: int,
        validation_samples: int,
        shift_pixels: int = 0,
        flip: bool | str = False,
    ) -> None:
        self._folder = fashion_folder(root)
        self._images, self._labels = _read_pair(self._folder, "train")
        if not 0 < validation_samples < len(self._labels):
            raise ConfigError(
                f"data.validation_samples={validation_samples} must be above 0 and below "
                f"{len(self._labels)}, the number of training images."
            )
        self._validation_samples = validation_samples
        self._order = shuffled_by_class(self._labels, split_seed)
        self._shift_pixels, self._flip = shift_pixels, flip
        self._mean, self._std = float(self._images.mean()), float(self._images.std())

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return the conversion of raw pixels to model input: ``(pixel - mean) / std``."""
        side = list(self._images.shape[1:])
        return {
            "raw": {"dtype": "uint8", "shape": side, "range": [0, 255]},
            "input": {"dtype": "float32", "shape": [1, *side]},
            "formula": "(raw - mean) / std",
            "mean": self._mean,
            "std": self._std,
        }

    def split(self, name: str) -> InMemory:
        """Return ``train``, ``validation`` or ``test``; the test files are read only for ``test``."""
        if name == "test":
            return self._prepared(*_read_pair(self._folder, "t10k"))
        cut = self._validation_samples
        members = {"train": self._order[cut:], "validation": self._order[:cut]}[name]
        fill = (0.0 - self._mean) / self._std
        transform = image_augmentation(shift_pixels=self._shift_pixels, flip=self._flip, fill=fill)
        prepared = self._prepared(self._images[members], self._labels[members])
        prepared.transform = transform if name == "train" else None
        return prepared

    def _prepared(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> InMemory:
        pixels = torch.from_numpy(images.astype(np.float32))[:, None]  # (samples, 1, height, width)
        inputs = pixels.sub_(self._mean).div_(self._std)
        return InMemory(inputs, torch.from_numpy(labels.astype(np.int64)))


def _read_pair(folder: Path, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (samples, height, width) and labels (samples,) of ``train`` or ``t10k``."""
    image_path, label_path = (
        fashion_file(folder, f"{kind}-images-idx3"),
        fashion_file(folder, f"{kind}-labels-idx1"),
    )
    images, labels = read_idx(image_path, dimensions=3), read_idx(label_path, dimensions=1)
    if len(images) != len(labels):
        raise IntegrityError(
            f"{image_path} has {len(images)} images, {label_path} {len(labels)} labels. Get both again."
        )
    if not len(labels) or int(labels.max()) >= _CLASSES:
        raise IntegrityError(f"{label_path} holds no labels from 0 to {_CLASSES - 1}. Get it again.")
    return images, labels
