"""Creating the data source that the configuration names, and checking its splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from overwinter.config import instantiate
from overwinter.config.targets import DATA
from overwinter.data.in_memory import InMemory
from overwinter.data.protocol import SPLITS, DataSource
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


def check_splits(source: DataSource) -> None:
    """Check the first sample of every split before any work is done; a missing ``test`` would otherwise fail last.

    Raises:
        ConfigError: a split cannot be created or is empty, its inputs are not floats or have another shape than those
            of ``train``, or a label is out of range.
        IntegrityError: its files are damaged.
    """
    shapes = {name: _first_shape(source, name) for name in SPLITS}
    for name, shape in shapes.items():
        if shape != shapes["train"]:
            raise ConfigError(
                f"data: inputs of the split {name} have the shape {list(shape)}, those of train "
                f"{list(shapes['train'])}. Prepare all splits in the same way."
            )


def _first_shape(source: DataSource, split: str) -> torch.Size:
    try:
        dataset: Any = source.split(split)
        first = (torch.as_tensor(dataset[0][0]), int(dataset[0][1])) if len(dataset) else None
    except OverwinterError:
        raise
    except Exception as error:
        raise ConfigError(
            f"data: the split {split} cannot be read: {type(error).__name__}: {error}.\n"
            f"A data source needs {', '.join(SPLITS)}; OVERWINTER_DEBUG=1 shows the traceback."
        ) from error
    if first is None:
        raise ConfigError(f"data: the split {split} has no samples. It needs at least one.")
    inputs, label = first
    if not inputs.is_floating_point():
        raise ConfigError(f"data: inputs of the split {split} are {inputs.dtype}. Return float32 tensors.")
    _check_labels(source, split, dataset.labels if isinstance(dataset, InMemory) else torch.tensor([label]))
    return inputs.shape


def _check_labels(source: DataSource, split: str, labels: torch.Tensor) -> None:
    low, high, classes = int(labels.min()), int(labels.max()), len(source.labels)
    if low < 0 or high >= classes:
        raise ConfigError(
            f"data: the split {split} has the label {low if low < 0 else high}, and {classes} classes are named: "
            f"labels go from 0 to {classes - 1}. Fix the labels, or name all classes."
        )
