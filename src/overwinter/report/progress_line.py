"""The line that says how a stage is getting on: position, rate, time left, watts now, joules so far, budget left."""

from __future__ import annotations

from typing import Any

from overwinter.units import format_duration, format_si

_RECENT_S = 5.0  # the span over which a rate and a power are "now"


class ProgressLine:
    """Turns a stage's progress events, given in order, into one line each.

    Rate and power are those of the last seconds: what an average over the whole stage says is old news when the work
    changes its pace.
    """

    def __init__(self) -> None:
        self._recent: list[dict[str, Any]] = []

    def text(self, event: dict[str, Any]) -> str:
        """Return the line of an event, whose `done` and `total` are in the stage's own units of work."""
        self._keep(event)
        parts = [f"{event['done']:g} of {event['total']:g}", *self._pace(event), *self._costs(event)]
        parts += [f"{name} {value:.4g}" for name, value in event["figures"].items()]
        return "  ".join(parts)

    def _keep(self, event: dict[str, Any]) -> None:
        if self._recent and event["done"] < self._recent[-1]["done"]:  # a new part of the work counts from its start
            self._recent.clear()
        self._recent.append(event)
        while len(self._recent) > 2 and event["time_s"] - self._recent[1]["time_s"] >= _RECENT_S:
            del self._recent[0]

    def _pace(self, event: dict[str, Any]) -> list[str]:
        """Return the rate and the time left; nothing before there are two events, or while nothing moves."""
        first = self._recent[0]
        elapsed_s, moved = event["time_s"] - first["time_s"], event["done"] - first["done"]
        if elapsed_s <= 0 or moved <= 0:
            return []
        rate = moved / elapsed_s
        left = event["total"] - event["done"]
        return [f"{rate:.3g}/s", *([f"{format_duration(left / rate)} left"] if left > 0 else [])]

    def _costs(self, event: dict[str, Any]) -> list[str]:
        if "energy_j" not in event:
            return []
        costs = []
        first = self._recent[0]
        elapsed_s = event["duration_s"] - first.get("duration_s", event["duration_s"])
        if elapsed_s > 0 and "energy_j" in first:
            costs.append(format_si((event["energy_j"] - first["energy_j"]) / elapsed_s, "W"))
        costs.append(format_si(event["energy_j"], "J"))
        if event.get("budget_left_j") is not None:
            costs.append(f"{format_si(event['budget_left_j'], 'J')} of the budget left")
        return costs
