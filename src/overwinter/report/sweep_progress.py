"""Progress of a sweep: a line per running point on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.report.progress import bars_with_notes
from overwinter.units import format_si

if TYPE_CHECKING:
    from rich.console import Console

    from overwinter.report.progress import RunDisplay


def sweep_progress_for(console: Console, *, fixed: Collection[str] = (), ended: int = 0, total: int = 0) -> RunDisplay:
    """Return the display of a sweep for the output: bars on a terminal, else lines.

    Args:
        console: The console.
        fixed: Overrides that all points have, which are left out.
        ended: The points that ended before those of the present batch.
        total: The points of all batches; 0: those of this one.
    """
    counts = _Counts(fixed=fixed, ended=ended, total=total)
    return RichSweepProgress(console, counts) if console.is_terminal else PlainSweepProgress(counts)


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What the events of a batch do not say; as of `sweep_progress_for`."""

    fixed: Collection[str] = ()
    ended: int = 0
    total: int = 0

    def of(self, event: dict[str, Any]) -> tuple[int, int]:
        """Return the number of points that have ended, and of all points."""
        finished = self.ended + int(event["finished"])
        return finished, max(self.total, self.ended + int(event["total"]))

    def in_words(self, event: dict[str, Any]) -> str:
        finished, total = self.of(event)
        return f"{finished}/{total}"

    def describe_end(self, event: dict[str, Any]) -> str:
        """Return what a point gave, with the settings that vary."""
        result = event["result"]
        overrides = result.point.overrides
        own = [each for each in overrides if each not in self.fixed] or overrides
        ran = f"ran {', '.join(result.ran)}" if result.ran else "nothing ran"
        why = f": {result.message.splitlines()[0]}" if result.message else f" ({ran})"
        return f"{self.in_words(event)} {event['point']} {' '.join(own)} {event['status']}{why}"


_BATCH = _Counts()


class _Joules:
    """The joules that a sweep has spent so far, in all its runs."""

    def __init__(self) -> None:
        self._ended_j = 0.0
        self._running_j: dict[tuple[str, str], float] = {}

    def note(self, event: dict[str, Any]) -> str:
        """Take the joules of an event, and return the sum in words; empty if nothing is known to be spent."""
        if event.get("spent_j"):  # by the ledger, at the end of a point
            ended = {place for place in self._running_j if place[0] == event["point"]}
            self._running_j = {place: energy for place, energy in self._running_j.items() if place not in ended}
            self._ended_j = max(0.0, event["spent_j"] - sum(self._running_j.values()))
        elif "energy_j" in event:
            self._running_j[event["point"], event["stage"]] = event["energy_j"]
        spent_j = self._ended_j + sum(self._running_j.values())
        return format_si(spent_j, "J") if spent_j else ""


class PlainSweepProgress:
    """Prints a line to standard error when a stage of a point starts, and when a point ends."""

    def __init__(self, counts: _Counts = _BATCH) -> None:
        self._joules, self._counts = _Joules(), counts

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the event, if it is a start or an end."""
        spent = self._joules.note(event)
        if event["event"] == "point" and event["status"] != "started":
            so_far = f" ({spent} so far)" if event["result"].run_id and spent else ""
            self._print(f"{self._counts.describe_end(event)}{so_far}")
        elif event["event"] == "start" and _is_stage(event):
            self._print(f"{event['point']}: {event['stage']}")
        elif event["event"] == "say" and not event["stage"]:
            self._print(f"{event['point']}: {event['text']}")

    def close(self) -> None:
        """Do nothing: lines need no clean-up."""

    def _print(self, text: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class RichSweepProgress:
    """A line per running point with its stage, and one for the whole sweep; a line stays of each point that ended."""

    def __init__(self, console: Console, counts: _Counts = _BATCH) -> None:
        self._bars = bars_with_notes(console)
        self._whole = self._bars.add_task("sweep", total=None, note="")
        self._tasks: dict[str, Any] = {}
        self._joules, self._counts = _Joules(), counts
        self._bars.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Move the event's line."""
        spent = self._joules.note(event)
        if event["event"] == "point":
            self._show_point(event)
            note = f"{self._counts.in_words(event)} points  {spent}"
            finished, total = self._counts.of(event)
            self._bars.update(self._whole, total=total, completed=finished, note=note)
        elif event["event"] == "start":
            self._bars.reset(self._tasks[event["point"]], total=None, description=_place(event), note="")
        elif event["event"] == "progress":
            figures = "".join(f"  {name} {value:.4g}" for name, value in event["figures"].items())
            task = self._tasks[event["point"]]
            self._bars.update(task, total=event["total"], completed=event["done"], note=figures)
        elif event["event"] == "say" and not event["stage"]:
            self._bars.console.print(f"{event['point']}: {event['text']}", highlight=False, markup=False)

    def close(self) -> None:
        """Stop updating the lines, and leave them on the screen."""
        self._bars.stop()

    def _show_point(self, event: dict[str, Any]) -> None:
        if event["status"] == "started":
            self._tasks[event["point"]] = self._bars.add_task(f"{event['point']} starts", total=None, note="")
            return
        if (task := self._tasks.pop(event["point"], None)) is not None:
            self._bars.remove_task(task)
        self._bars.console.print(self._counts.describe_end(event), highlight=False, markup=False)


def _is_stage(event: dict[str, Any]) -> bool:
    return not event["stage"].startswith("gate-") and event["stage"] != "check"


def _place(event: dict[str, Any]) -> str:
    return f"{event['point']} {event['stage']}"
