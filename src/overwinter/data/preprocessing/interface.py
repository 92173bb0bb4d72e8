"""The interface of preprocessing, and what its kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import ConfigError
from overwinter.inputs import Inputs


@runtime_checkable
class Preprocessing(Protocol):
    """Conversion of raw samples to model inputs."""

    @property
    def kind(self) -> str:
        """`normalize`, `image` or `text`."""

    @property
    def extras(self) -> Path | None:
        """Folder that the conversion needs, such as a tokenizer's, which a bundle takes along; None if none."""

    def prepare(self, raw: Any) -> Inputs:
        """Return model inputs (n, ...), one array or several by name, of n raw samples.

        Raises:
            ConfigError: in one sentence, what is wrong with a sample.
        """

    def describe_raw(self) -> list[dict[str, Any]]:
        """Return the raw input as the Open Inference Protocol describes a tensor; empty if its shape is not known."""

    def to_json(self) -> dict[str, Any]:
        """Return what `read_preprocessing` makes it from again."""


def numbers(key: str, value: Any) -> NDArray[np.float64]:
    """Return a number, or one per channel, as an array.

    Raises:
        ConfigError: it is neither.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.asarray(np.nan)
    if found.ndim > 1 or not np.isfinite(found).all():
        raise ConfigError(f"preprocessing.{key}={value!r} must be a number, or one per channel.")
    return found


def above_zero(key: str, value: Any) -> NDArray[np.float64]:
    """Return a number above zero, or one per channel, as an array.

    Raises:
        ConfigError: it is neither.
    """
    found = numbers(key, value)
    if not (found > 0).all():
        raise ConfigError(f"preprocessing.{key}={found.tolist()} must be above zero.")
    return found


def refuse_unknown(content: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse keys of a bundle's preprocessing that its kind does not have.

    Raises:
        ConfigError: with the keys.
    """
    unknown = sorted(set(content) - {"kind", *known})
    if unknown:
        raise ConfigError(f"preprocessing has {', '.join(unknown)}, which its kind does not know: {', '.join(known)}.")
