"""Progress of a run: bars on a terminal, plain lines elsewhere (a log, CI)."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from overwinter.errors import EXIT_DONE, EXIT_REFUSED
from overwinter.programs import EXIT_INTERRUPTED
from overwinter.report.progress_line import ProgressLine
from overwinter.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_LINE_INTERVAL_S = 10.0
_VERDICTS = {EXIT_DONE: "done", EXIT_REFUSED: "refused", EXIT_INTERRUPTED: "interrupted"}


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
    """Prints a line to standard error when a stage starts, every ten seconds, and when a program ends."""

    def __init__(self) -> None:
        self._started_s: dict[str, float] = {}
        self._lines: dict[str, ProgressLine] = {}
        self._last_line_s = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the event, at most every ten seconds."""
        stage, now_s = event["stage"], event["time_s"]
        if event["event"] == "start":
            self._started_s[stage] = now_s
            if _is_stage(stage):
                _print(f"{stage}: starts")
        elif event["event"] == "progress":
            line = self._lines.setdefault(stage, ProgressLine()).text(event)
            if now_s - self._last_line_s >= _LINE_INTERVAL_S:
                self._last_line_s = now_s
                _print(f"{stage}: {line}")
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
        self._lines: dict[str, ProgressLine] = {}
        self._bars.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Move the event's bar."""
        stage = event["stage"]
        if not _is_stage(stage):
            self._show_verdict(event)
        elif event["event"] == "start":
            self._tasks[stage] = self._bars.add_task(stage, total=None, note="starts")
        elif event["event"] == "progress":
            note = self._lines.setdefault(stage, ProgressLine()).text(event)
            self._bars.update(self._tasks[stage], total=event["total"], completed=event["done"], note=note)
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
    return _VERDICTS.get(event["exit_code"], "failed")


def _is_stage(name: str) -> bool:
    """Whether it is a stage: gates and the check are over in a moment."""
    return name != "check" and not name.startswith("gate-")


def _print(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
