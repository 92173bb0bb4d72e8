"""Creating the data source that the configuration names, and checking its splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from overwinter.config import instantiate
from overwinter.config.targets import DATA
from overwinter.data.in_memory import InMemory
from overwinter.data.preprocessing import as_json, check_preprocessing
from overwinter.data.protocol import SPLITS, DataSource
from overwinter.data.samples import as_sample
from overwinter.errors import ConfigError, OverwinterError


def load_data(config_data: Mapping[str, Any], *, trusted: Sequence[str]) -> DataSource:
    """Create the data source that ``_target_`` names, with the other keys as its arguments.

    Args:
        config_data: for example ``{"_target_": "overwinter.data.Digits", "split_seed": 0, ...}``.
        trusted: packages whose classes ``_target_`` may name, besides overwinter's.

    Raises:
        ConfigError: the target is not trusted, cannot be created, or is not a `DataSource`; or its files are missing.
        IntegrityError: its files are damaged.
    """
    source = instantiate(config_data, DATA, _has_splits, trusted=trusted)
    absent = [member for member in ("labels", "preprocessing", "split") if not hasattr(source, member)]
    absent += ["callable split"] if not absent and not callable(source.split) else []
    if absent:
        raise ConfigError(
            f"data._target_={config_data.get('_target_')} has no {', '.join(absent)}. "
            "A data source has labels, preprocessing and split(name); see `pydoc overwinter.data`."
        )
    return cast(DataSource, source)


def _has_splits(found: type) -> bool:
    return hasattr(found, "split")


def class_names(source: DataSource) -> tuple[str, ...]:
    """Return what each class is called.

    Raises:
        ConfigError: the names have no order.
    """
    labels: Any = source.labels
    names = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        raise ConfigError(
            f"data: `labels` is a {type(labels).__name__}. It must be a list of the classes' names, in the order of "
            "their numbers."
        )
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names)


def check_splits(source: DataSource) -> torch.Size:
    """Look at the first sample of every split before any work is done: ``test`` would be missed at the end only.

    Returns:
        The shape of one input.

    Raises:
        ConfigError: a split cannot be made or is empty, its inputs are no floats or have another shape than those of
            ``train``, a label is no class, or a bundle cannot keep the names of the classes or the preprocessing.
        IntegrityError: its files are damaged.
    """
    classes = len(class_names(source))
    shapes = {name: _first_shape(source, name, classes) for name in SPLITS}
    for name, shape in shapes.items():
        if shape != shapes["train"]:
            raise ConfigError(
                f"data: inputs of the split {name} have the shape {list(shape)}, those of train "
                f"{list(shapes['train'])}. Prepare all splits in the same way."
            )
    check_preprocessing(as_json(source.preprocessing), shapes["train"])
    return shapes["train"]


def _first_shape(source: DataSource, split: str, classes: int) -> torch.Size:
    try:
        dataset: Any = source.split(split)
        first = dataset[0] if len(dataset) else None
    except OverwinterError:
        raise
    except Exception as error:
        raise ConfigError(
            f"data: the split {split} cannot be read: {type(error).__name__}: {error}.\n"
            f"A data source needs {', '.join(SPLITS)}; OVERWINTER_DEBUG=1 shows the traceback."
        ) from error
    if first is None:
        raise ConfigError(f"data: the split {split} has no samples. It needs at least one.")
    try:
        inputs, label = as_sample(first)
    except ConfigError as error:
        raise ConfigError(f"data: the split {split}: {error}") from error
    _check_labels(split, dataset.labels if isinstance(dataset, InMemory) else torch.tensor([label]), classes)
    return inputs.shape


def _check_labels(split: str, labels: torch.Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ConfigError(
            f"data: the split {split} has the label {low if low < 0 else high}, and {classes} classes are named: "
            f"labels go from 0 to {classes - 1}. Fix the labels, or name all classes."
        )
