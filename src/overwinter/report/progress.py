"""Progress of a run: bars on a terminal, plain lines elsewhere (a log, CI)."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from overwinter.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_LINE_INTERVAL_S = 10.0


class RunDisplay(Protocol):
    """Shows the events of a run."""

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""

    def close(self) -> None:
        """Stop showing."""


def progress_for(console: Console) -> RunDisplay:
    """Return the display for the output: bars on a terminal, else lines."""
    return RichProgress(console) if console.is_terminal else PlainProgress()


class PlainProgress:
    """Prints a line to standard error when a program starts, every ten seconds, and when it ends."""

    def __init__(self) -> None:
        self._started_s: dict[str, float] = {}
        self._last_line_s = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the event, at most every ten seconds."""
        stage, now_s = event["stage"], event["time_s"]
        if event["event"] == "start":
            self._started_s[stage] = now_s
        elif event["event"] == "progress" and now_s - self._last_line_s >= _LINE_INTERVAL_S:
            self._last_line_s = now_s
            _print(f"{stage}: {_share(event)}{_figures(event)}")
        elif event["event"] == "say":
            _print(f"{stage}: {event['text']}")
        elif event["event"] == "end":
            duration = format_duration(now_s - self._started_s.get(stage, now_s))
            _print(f"{stage}: {_verdict(event)} ({duration})")

    def close(self) -> None:
        """Do nothing: lines need no clean-up."""


def bars_with_notes(console: Console) -> Progress:
    """Return rich's progress with a bar, the time and a note for each task; set the note by ``note=``."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    described, noted = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    return Progress(described, BarColumn(), TimeElapsedColumn(), noted, console=console)


class RichProgress:
    """A bar per stage that ran, with its latest figures."""

    def __init__(self, console: Console) -> None:
        self._bars = bars_with_notes(console)
        self._tasks: dict[str, Any] = {}
        self._bars.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Move the event's bar."""
        stage = event["stage"]
        if stage.startswith("gate-") or stage == "check":
            self._show_verdict(event)
        elif event["event"] == "start":
            self._tasks[stage] = self._bars.add_task(stage, total=None, note="")
        elif event["event"] == "progress":
            self._bars.update(self._tasks[stage], total=event["total"], completed=event["done"], note=_figures(event))
        elif event["event"] == "say":
            self._bars.console.print(f"{stage}: {event['text']}", highlight=False, markup=False)
        elif event["event"] == "end":
            self._bars.update(self._tasks[stage], total=1, completed=int(event["exit_code"] == 0), note=_verdict(event))
            self._bars.stop_task(self._tasks[stage])

    def close(self) -> None:
        """Stop updating the bars, and leave them on the screen."""
        self._bars.stop()

    def _show_verdict(self, event: dict[str, Any]) -> None:
        if event["event"] == "end" and event["exit_code"] != 0:
            self._bars.console.print(f"{event['stage']}: {_verdict(event)}", highlight=False, markup=False)


def _verdict(event: dict[str, Any]) -> str:
    if event["exit_code"] == 0:
        return "done"
    return "refused" if event["exit_code"] == 3 else "failed"


def _share(event: dict[str, Any]) -> str:
    return f"{event['done']:g} of {event['total']:g}"


def _figures(event: dict[str, Any]) -> str:
    return "".join(f"  {name} {value:.4g}" for name, value in event["figures"].items())


def _print(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
