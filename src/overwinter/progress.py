"""How far a piece of work has come, told to anyone who may stop it: a budget, a power policy, the user who watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[float, float], None]  # (done, all of it); it may raise, and the work is then over


class StepProgress(Protocol):
    """A `Progress` that also takes figures of the step, such as its loss."""

    def __call__(self, done: float, total: float, /, **figures: float) -> None:
        """Take how much is done, of how much."""


def silent(_done: float, _total: float, /, **_figures: float) -> None:
    """Tell no one."""


def part(progress: Progress, begin: float, end: float) -> Progress:
    """Return what reports on a piece of the work, which is all of it from the share ``begin`` to the share ``end``."""
    return lambda done, total: progress(begin + (end - begin) * done / total, 1.0)
