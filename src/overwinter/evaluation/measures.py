"""Your own measures, named in ``evaluate.measures``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from overwinter.config import instantiate
from overwinter.config.groups import EvaluateConfig
from overwinter.config.targets import MEASURE
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import Array
from overwinter.tasks import Measure

_A_MEASURE = "A measure is a class whose objects are called with outputs and targets, and return a number."


class OwnMeasure(Protocol):
    """A measure of your own.

    Its optional attribute ``higher_is_better`` is True unless it says otherwise; a limit on it is in its own unit.
    """

    def __call__(self, outputs: Array, targets: Array) -> float:
        """Return a number for the outputs (n, ...) of the whole test split and its targets (n, ...)."""


def own_measures(settings: EvaluateConfig, *, trusted: Sequence[str]) -> dict[str, OwnMeasure]:
    """Create the user's measures, by name; also called before training, to check them.

    Args:
        settings: the group `evaluate`.
        trusted: packages whose classes a measure's ``_target_`` may name.

    Raises:
        ConfigError: a measure cannot be created, or cannot be called.
    """
    return {name: _created(name, node, trusted) for name, node in settings.measures.items()}


def direction_of(name: str, measure: OwnMeasure) -> Measure:
    """Return the name and the direction of one of the user's measures."""
    return Measure(name=name, higher_is_better=bool(getattr(measure, "higher_is_better", True)), share=False)


def apply_measure(name: str, measure: OwnMeasure, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
    """Return one of the user's measures on the whole split.

    Args:
        name: as in ``evaluate.measures``.
        measure: the measure.
        outputs: of each batch (n, ...).
        targets: of each batch (n, ...).

    Raises:
        OverwinterError: it fails, it returns no finite number, or batches of different shapes cannot be joined.
    """
    try:
        value: Any = measure(np.concatenate(outputs), np.concatenate(targets))
    except Exception as error:
        raise OverwinterError(
            f"evaluate.measures.{name} failed: {type(error).__name__}: {error}.\n{_A_MEASURE} "
            "OVERWINTER_DEBUG=1 shows the traceback."
        ) from error
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise OverwinterError(
            f"evaluate.measures.{name} returned {value!r}, which is not a finite number. {_A_MEASURE}"
        )
    return number


def _created(name: str, node: Mapping[str, Any], trusted: Sequence[str]) -> OwnMeasure:
    try:
        measure = instantiate(node, MEASURE, _is_callable, trusted=trusted)
    except ConfigError as error:
        raise ConfigError(f"evaluate.measures.{name}: {error}\n{_A_MEASURE}") from None
    return cast(OwnMeasure, measure)


def _is_callable(found: type) -> bool:
    return any("__call__" in vars(base) for base in found.__mro__)
