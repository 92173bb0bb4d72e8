"""Progress callbacks: a stage reports its progress to a budget, a power policy and the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[float, float], None]  # (done, total); it may raise to stop the work


class StepProgress(Protocol):
    """A `Progress` that also takes metrics of the step, such as its loss."""

    def __call__(self, done: float, total: float, /, **figures: float) -> None:
        """Report that ``done`` of ``total`` is done."""


def silent(_done: float, _total: float, /, **_figures: float) -> None:
    """Ignore the report."""


def part(progress: Progress, begin: float, end: float) -> Progress:
    """Return a `Progress` for the part of the work from the share ``begin`` to the share ``end``."""
    return lambda done, total: progress(begin + (end - begin) * done / total, 1.0)
