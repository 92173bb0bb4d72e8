"""From events to trackers: the figures of every `progress` event, with the work done as the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.registries import TRACKERS
from overwinter.tracking.interface import Tracker

_COSTS = ("energy_j", "carbon_g", "duration_s", "budget_left_j")


class Tracking:
    """Passes the figures of a run's events to trackers. One that fails is reported, and left out from then on.

    Args:
        trackers: The trackers by name.
        log: A function that shows one line to the user.
    """

    def __init__(self, trackers: Mapping[str, Tracker], log: Callable[[str], None]) -> None:
        self._trackers, self._log = dict(trackers), log

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take note of an event, of `pipeline.events`; only `progress` has figures."""
        if event["event"] != "progress" or not self._trackers:
            return
        figures = {name: event[name] for name in _COSTS if name in event} | dict(event.get("figures") or {})
        curves = {f"{event['stage']}/{name}": float(value) for name, value in figures.items() if _is_number(value)}
        self._each(lambda tracker: tracker.log(curves, step=round(event.get("done") or 0)))

    def close(self) -> None:
        """Let every tracker write what is left."""
        self._each(lambda tracker: tracker.close())

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # noqa: BLE001 -- curves must not stop the work
                del self._trackers[name]
                self._log(f"{name} gets no more figures: {error}")


def open_tracking(names: Sequence[str], *, folder: Path, run: str, log: Callable[[str], None]) -> Tracking:
    """Open trackers for a run.

    Args:
        names: Their names, such as `tensorboard`; of none, nothing is loaded.
        folder: The ledger's folder, for trackers that write files.
        run: The run's name.
        log: A function that shows one line to the user.

    Raises:
        ConfigError: A name is unknown, its library is missing, or it needs a setting.
    """
    return Tracking({name: TRACKERS.find(name)(folder=folder, run=run) for name in names}, log)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
