"""Progress of a sweep: a line per running point on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from overwinter.units import format_si

if TYPE_CHECKING:
    from rich.console import Console

    from overwinter.report.progress import RunDisplay


def sweep_progress_for(console: Console) -> RunDisplay:
    """Return the display of a sweep for the output: bars on a terminal, else lines."""
    return RichSweepProgress(console) if console.is_terminal else PlainSweepProgress()


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

    def __init__(self) -> None:
        self._joules = _Joules()

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the event, if it is a start or an end."""
        spent = self._joules.note(event)
        if event["event"] == "point" and event["status"] != "started":
            self._print(
                f"{_count(event)} {_ended(event)}" + (f" ({spent} so far)" if event["result"].run_id and spent else "")
            )
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

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Progress(*columns, console=console)
        self._whole = self._bars.add_task("sweep", total=None, note="")
        self._tasks: dict[str, Any] = {}
        self._joules = _Joules()
        self._bars.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Move the event's line."""
        spent = self._joules.note(event)
        if event["event"] == "point":
            self._show_point(event)
            note = f"{_count(event)} points  {spent}"
            self._bars.update(self._whole, total=event["total"], completed=event["finished"], note=note)
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
        self._bars.console.print(f"{_count(event)} {_ended(event)}", highlight=False, markup=False)


def _is_stage(event: dict[str, Any]) -> bool:
    return not event["stage"].startswith("gate-") and event["stage"] != "check"


def _place(event: dict[str, Any]) -> str:
    return f"{event['point']} {event['stage']}"


def _count(event: dict[str, Any]) -> str:
    return f"{event['finished']}/{event['total']}"


def _ended(event: dict[str, Any]) -> str:
    result = event["result"]
    overrides = " ".join(result.point.overrides)
    ran = f"ran {', '.join(result.ran)}" if result.ran else "nothing ran"
    why = f": {result.message.splitlines()[0]}" if result.message else f" ({ran})"
    return f"{event['point']} {overrides} {event['status']}{why}"
