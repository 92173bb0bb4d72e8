"""A watched run: its steps, its budget at each of them, its pauses, and its figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from overwinter.budget.guard import without_promise
from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.ledger import WATCH_PREFIX
from overwinter.pipeline.supervised import Supervised
from overwinter.pipeline.supervising import STEP_PATIENCE_S

if TYPE_CHECKING:
    from overwinter.config.groups.supervision import Supervision
    from overwinter.energy import EnergyRecord
    from overwinter.energy.meter import Window
    from overwinter.pipeline.watch import Spent

Item = TypeVar("Item")
_PAUSE_STEP_S = 0.2
_MAX_PATIENCE_S = 60.0


class Run(Supervised):
    """A watched run, which `overwinter.watch` makes.

    Attributes:
        title: Its name, without the ledger's prefix.
        record: The content of energy.json, once the run has ended; None before.
        signal: The number of the signal that stopped it; None if none did.
        state: The ledger's folder.
        on_event: A function that gets the run's figures twice a second, as an event of `pipeline.events`; None: none.
    """

    def __init__(
        self,
        title: str,
        config: Supervision,
        *,
        checkpoint: Callable[[], object] | None,
        log: Callable[[str], None],
        state: Path,
        on_reading: Callable[[Run, Spent], object] | None = None,
    ) -> None:
        super().__init__(f"{WATCH_PREFIX}{title}", config)
        self.config: Supervision = config
        self.title = title
        self.record: EnergyRecord | None = None
        self.signal: int | None = None
        self.figures: dict[str, Any] = {}
        self.state = state
        self.on_event: Callable[[Mapping[str, Any]], None] | None = None
        self._checkpoint, self._log = checkpoint, log
        self._reached, self._step_s = 0.0, 0.0
        self._on_reading = on_reading

    # For scripts.

    def steps(self, work: Iterable[Item], *, total: float | None = None, done: float | None = None) -> Iterator[Item]:
        """Yield the items of ``work``; between two of them, the run may wait or stop.

        A second call counts on, as for the next epoch.

        Args:
            work: The items, such as a data loader.
            total: The number of steps of the whole run, all epochs together, by which the budget and the power policy
                look ahead; by default those done plus ``len(work)``, if it has a length.
            done: The number of steps done before, in a run that resumes; by default those of earlier calls.

        Raises:
            ConfigError: ``done`` or ``total`` is no count, or ``done`` is more than ``total``.
            RefusedError: The budget is or will be exceeded. The checkpoint is saved; do not catch it inside the loop.
            KeyboardInterrupt: Ctrl-C was pressed. The checkpoint is saved.
            SystemExit: SIGTERM was received. The checkpoint is saved.
        """
        _check_counts(done, total)
        if done is not None and total is not None and done > total:
            raise ConfigError(
                f"steps: done={done:.10g} is more than total={total:.10g}. "
                "The total is that of the whole run, with the steps done before."
            )
        reached = self._reached if done is None else done
        if total is None and isinstance(work, Sized):
            total = reached + len(work)
        self.step(reached, total)
        for item in work:
            yield item
            reached += 1
            self.step(reached, total)

    def step(self, done: float, total: float | None = None) -> None:
        """Report that ``done`` steps of ``total`` are complete: a loop of one's own calls it between its steps.

        Raises:
            ConfigError: ``done`` or ``total`` is no count.
            RefusedError: As `steps`.
            KeyboardInterrupt: As `steps`.
            SystemExit: As `steps`.
        """
        self._check_open()
        _check_counts(done, total)
        if total is not None and done > total:
            total = None  # a wrong total must not end the budget: nothing is checked after the last step
        before_s = self.last_progress_s
        self._reached, known = done, math.inf if total is None else total
        self._reach(done, known)
        if before_s:
            self._step_s = self.last_progress_s - before_s
        if total is None:
            self.position = (done, None)
        self._stop_if_interrupted()
        self._note_step(done, known)
        self._stop_over_budget(done, known)
        if self.control is not None:
            self.control.step(done, total)
            self._wait_out_pause(done, known)

    def window(self, name: str) -> Window:
        """Start a window of the meter, to be closed or used in a `with` block; windows may nest and overlap."""
        self._check_open()
        return self.meter.window(name)

    def read(self) -> Spent:
        """Return the costs so far: the meter's report, grams and the carbon intensity; at most half a second old."""
        if self._watch is None:
            raise OverwinterError(f"{self.title} has no figures before its `with` block begins.")
        return self._watch.latest

    def metrics(self, **figures: Any) -> None:
        """Record figures of the result in the ledger, beside the costs; a later value replaces an earlier one.

        Args:
            figures: Texts, and numbers of any library, such as tensors of one element. Each is kept as it is, but NaN
                and infinity as texts, which JSON has no numbers for.

        Raises:
            ConfigError: A figure is neither.
        """
        self.figures.update({name: _plain(name, value) for name, value in figures.items()})

    # For `watch`.

    def log(self, text: str) -> None:
        """Print one line for the user."""
        self._log(f"{self.title}: {text}")

    def follow(self, spent: Spent) -> None:
        """Pass a reading on to trackers and to the script's function; one that fails is not called again."""
        if self.on_event is not None:
            self.on_event(self._event())
        if self._on_reading is None:
            return
        try:
            self._on_reading(self, spent)
        except Exception as error:  # noqa: BLE001 -- the script's plots must not stop its work
            self._on_reading = None
            self.log(f"on_reading failed and is not called again: {error!r}")

    def profile_place(self, folder: str) -> Path:
        """Return the file of this run's power profile in ``folder``, beside the ledger's folder."""
        kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self.title)
        return self.state.parent / folder / f"watch-{kept}.json"

    def workload(self) -> Mapping[str, Any]:
        """Return what determines a step, as far as it is known: the name."""
        return {"watch": self.title}

    def interrupt(self, number: int) -> None:
        """Stop at the next step; at once if no steps are reported, or if the signal is repeated.

        Raises:
            KeyboardInterrupt: At once, for SIGINT.
            SystemExit: At once, for SIGTERM.
        """
        patience_s = min(max(STEP_PATIENCE_S, 3 * self._step_s), _MAX_PATIENCE_S)
        waits = time.monotonic() - self.last_progress_s < patience_s
        again, self.signal = self.interrupted, number
        if again or not waits:
            raise _end_by(number, f"{self.title} was interrupted before its next step. {self.kept()}")
        self.interrupted = True

    def kept(self) -> str:
        """Return what is kept if the run is interrupted now, before its next step, and how to go on."""
        if self._checkpoint is None:
            return "It had saved nothing: the next run starts over."
        return "No checkpoint was saved now: the next run resumes from an earlier one, if there is any."

    def _on_going(self) -> str:
        if self._checkpoint is None:
            return "It has no checkpoint, so the next run starts over (watch(checkpoint=...) saves one)."
        return "Its checkpoint is saved: run the script again to go on."

    def overspent(self, record: EnergyRecord) -> str | None:
        """Return what was exceeded by a run that ended by itself, without steps or in its last one; None if nothing."""
        for limit in self.budget.total:
            amount = self.budget.amount(limit.amount.dimension, record)
            if amount is not None and amount > limit.amount.value:
                return f"it has spent {limit.quantity(amount)}, over {limit}"
        return None

    def _event(self) -> dict[str, Any]:
        done, total = self.position
        numbers = {name: value for name, value in dict(self.figures).items() if isinstance(value, (int, float))}
        event = {"event": "progress", "stage": self.title, "done": done, "total": total, "time_s": time.time()}
        return {**event, "figures": numbers, **self._spent()}

    def _check_open(self) -> None:
        if self.record is not None:
            raise OverwinterError(f"{self.title} has ended, so nothing more is metered. Move the work into its block.")

    def _stop_over_budget(self, done: float, total: float) -> None:
        """Save the checkpoint and raise RefusedError if the budget is exceeded, or will be."""
        try:
            self._hold_to_budget(done, total, kept=self._checkpoint is not None)
        except RefusedError as error:
            refusal = error
        else:
            return
        if (failure := self._save()) is not None:  # not chained to the refusal, which promises a checkpoint
            raise RefusedError(_unsaved(without_promise(str(refusal)), failure)) from failure
        raise refusal

    def _stop_if_interrupted(self) -> None:
        if not self.interrupted or self.signal is None:
            return
        done, total = self.position
        of = "" if total is None else f" of {total:.10g}"
        what = f"{self.title} was interrupted at {done:.10g}{of}"
        end = _end_by(self.signal, f"{what}. {self._on_going()}")
        if (failure := self._save()) is not None:
            raise OverwinterError(_unsaved(what, failure)) from failure
        if isinstance(end, SystemExit):  # it has no text
            self.log(f"ended by signal {self.signal} at {done:.10g}{of}. {self._on_going()}")
        raise end

    def _save(self) -> Exception | None:
        """Save the script's checkpoint before the run is stopped; return what prevents it."""
        if self._checkpoint is None:
            return None
        try:
            self._checkpoint()
        except Exception as failure:  # noqa: BLE001 -- the run ends with it
            return failure
        return None

    def _wait_out_pause(self, done: float, total: float) -> None:
        """Wait at a step while the power policy pauses the work; the process keeps its memory and its devices."""
        if done >= total or self._pause() is None:
            return
        self.log(f"paused by the power policy: {self._pause()}")
        while self._pause() is not None:
            time.sleep(_PAUSE_STEP_S)
            self.last_progress_s = time.monotonic()
            self._stop_if_interrupted()
        self.log("resumes")

    def _pause(self) -> str | None:
        """Return the reason for the policy's pause; None if it does not pause the work now."""
        pause = None if self.control is None else self.control.pause
        return None if pause is None else pause.reason


def _plain(name: str, value: Any) -> float | str:
    """Return a figure as JSON has it, which knows neither NaN nor infinity: they become texts."""
    if isinstance(value, (str, int)):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"metrics: {name}={value!r} is neither a number nor a text.") from None
    return number if math.isfinite(number) else str(number)


def _check_counts(done: float | None, total: float | None) -> None:
    """Refuse what cannot be a number of steps; a total of infinity is unknown."""
    if done is not None and not 0 <= done < math.inf:
        raise ConfigError(f"done={done!r} is not a number of steps. Give those that are complete, from 0 on.")
    if total is not None and not total >= 0:
        raise ConfigError(f"total={total!r} is not a number of steps. Give those of the whole run, or None.")


def _unsaved(what: str, failure: Exception) -> str:
    return f"{what}\nIts checkpoint could not be saved: {failure!r}. Mend that first: the next run cannot resume here."


def _end_by(number: int, text: str) -> BaseException:
    """Return the exception by which Python programs end on a signal."""
    import signal

    return KeyboardInterrupt(text) if number == signal.SIGINT else SystemExit(128 + number)
