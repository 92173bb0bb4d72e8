"""What surrounds a bundle's model: the preprocessing of raw samples before it, the task that words outputs after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from overwinter.bundle.facts import BundleFacts
from overwinter.data.preprocessing import Preprocessing, read_preprocessing
from overwinter.errors import ConfigError
from overwinter.inputs import Array, Inputs, named

if TYPE_CHECKING:
    from overwinter.tasks import Task

_BUILT_IN = (
    "classification",
    "embeddings",
    "forecasting",
    "language_modeling",
    "multilabel",
    "regression",
    "segmentation",
    "token_classification",
)
_NOT_OF_THE_CLASS = ("name", "output", "loss")  # keys of the group that say how the model is trained and called
_MAX_DIFFERENCE = 1e-3  # share of all values together: decoders of JPEG and resizers round differently


def open_preprocessing(facts: BundleFacts, extras: Path | None) -> Preprocessing | None:
    """Return the preprocessing of a bundle's raw samples; None if it takes model inputs only.

    Args:
        facts: of the bundle.
        extras: folder of its extras, which a tokenizer is read from.

    Raises:
        ConfigError: no bundle can apply what was declared.
    """
    if facts.generates or not takes_raw(facts):
        return None
    shape = facts.signature.sample_shape
    given = {} if "kind" in facts.preprocessing or None in shape else {"input": {"shape": list(shape)}}
    return read_preprocessing({**given, **facts.preprocessing}, extras=extras)


def takes_raw(facts: BundleFacts) -> bool:
    """Return whether the model has raw samples: a kind of preprocessing is named, or it takes one tensor of floats."""
    inputs = facts.signature.inputs
    return "kind" in facts.preprocessing or (len(inputs) == 1 and inputs[0].dtype == "float32")


def open_task(facts: BundleFacts, *, trusted: Sequence[str] = ()) -> Task:
    """Return the task that turns the model's outputs into responses.

    Raises:
        ConfigError: it is unknown, or its settings are wrong.
        TargetError: it is code that is not trusted.
    """
    from overwinter import tasks

    name = facts.task.get("name", "")
    if "_target_" in facts.task or name not in _BUILT_IN:
        opened: Task = tasks.load_task(facts.task, facts.labels, trusted=trusted)  # imports Hydra
        return opened
    settings = {key: value for key, value in facts.task.items() if key not in _NOT_OF_THE_CLASS}
    try:
        made: Task = getattr(tasks, "".join(map(str.capitalize, name.split("_"))))(facts.labels, **settings)
    except TypeError as error:
        raise ConfigError(f"task={dict(facts.task)} does not fit: {error}.") from None
    return made


def difference(prepared: Inputs, expected: Inputs) -> str | None:
    """Return in what prepared samples differ from the recorded model inputs, for a message; None if in nothing."""
    given, recorded = named(prepared), named(expected)
    if set(given) != set(recorded):
        return f"it makes {', '.join(given)}, and the model takes {', '.join(recorded)}"
    return next((found for name in recorded if (found := _differs(name, given[name], recorded[name]))), None)


def _differs(name: str, given: Array, recorded: Array) -> str | None:
    if given.dtype != recorded.dtype or given.shape != recorded.shape:
        return f"it makes {name} {given.dtype} {list(given.shape)} instead of {recorded.dtype} {list(recorded.shape)}"
    if given.dtype.kind != "f":
        return None if np.array_equal(given, recorded) else f"it makes other values of {name}"
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(given.astype(np.float64) - recorded).sum()
        whole = np.abs(recorded.astype(np.float64)).sum()
    if apart <= _MAX_DIFFERENCE * whole:
        return None
    return f"it makes other values of {name}: they differ by {apart / max(whole, 1e-300):.2g} of all values together"
