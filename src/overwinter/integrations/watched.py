"""A run that a library's callback watches: its own, or that of a `with overwinter.watch()` around the training.

A training loop that raises may not tell its callbacks, so a run of one's own is also closed at the end of the process,
and by the next training.
"""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from overwinter.errors import OverwinterError, RefusedError
from overwinter.pipeline.current import current_work
from overwinter.watching.context import Watching, watch
from overwinter.watching.run import Run

if TYPE_CHECKING:
    from overwinter.pipeline.watch import Spent

STOPS = (RefusedError, KeyboardInterrupt, SystemExit)
"""What `Run.step` raises to stop the work, once its checkpoint is saved."""

_own: list[Watched] = []  # at most one: the run that a callback opened and has not closed


class WatchOptions(TypedDict, total=False):
    """The arguments of `overwinter.watch` that a callback takes, too; checkpoints are the library's."""

    budget: str | None
    power: str | None
    carbon: str | None
    project: str | None
    name: str | None
    energy_json: str | Path | None
    emissions_csv: str | Path | None
    on_reading: Callable[[Run, Spent], object] | None
    track: tuple[str, ...]
    overrides: tuple[str, ...]
    log: Callable[[str], None] | None


class Watched:
    """The run of one training.

    Attributes:
        run: The run.
        stop: What stops it; None while it goes on.
    """

    def __init__(self, run: Run, watching: Watching | None) -> None:
        self.run = run
        self.stop: BaseException | None = None
        self._watching = watching

    @classmethod
    def begin(cls, *, checkpoint: Callable[[], object], resumes: bool, **options: Unpack[WatchOptions]) -> Watched:
        """Use the script's own watch around the training, or else open one.

        Args:
            checkpoint: Saves a checkpoint when the run is stopped.
            resumes: Whether the training continues from a checkpoint.
            options: The arguments of `overwinter.watch`.

        Raises:
            ConfigError: A setting is wrong, or the training is inside other metered work.
            RefusedError: Nothing is left of the budget.
        """
        while _own:
            _own[-1].end(OverwinterError("the training ended without telling its callbacks, as after an exception"))
        around = current_work()
        if isinstance(around, Run):
            return cls(around, None)
        watching = watch(checkpoint=checkpoint, resumes=resumes, **options)
        begun = cls(watching.__enter__(), watching)
        _own.append(begun)
        return begun

    def step(self, done: float, total: float | None) -> bool:
        """Report a step; return whether the run must stop, because of `stop`."""
        if self.stop is None:
            try:
                self.run.step(done, total)
            except STOPS as stop:
                self.stop = stop
        return self.stop is not None

    def end(self, error: BaseException | None = None) -> None:
        """Close the run, if the callback opened it, with what ended it; closing again has no effect."""
        watching, self._watching = self._watching, None
        if self in _own:
            _own.remove(self)
        if watching is not None:
            watching.__exit__(type(error) if error is not None else None, error, None)


def _end_with_process() -> None:
    error: Any = getattr(sys, "last_value", None)
    while _own:
        number = _own[-1].run.signal
        by_signal = SystemExit(128 + number) if number == signal.SIGTERM else None
        _own[-1].end(error or by_signal or OverwinterError("the process ended during the training"))


atexit.register(_end_with_process)
