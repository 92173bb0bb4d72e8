"""The guard of a running stage: it stops the stage at a step once the budget is, or will be, exceeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.errors import RefusedError

if TYPE_CHECKING:
    from overwinter.budget.limits import Budget, Costs
    from overwinter.config.limits import Limit
    from overwinter.ledger import Spent

# Share of the work to skip before projecting: importing, allocating and warming up make the first steps cost more.
_WARM_UP_SHARE = 0.05
# Work and seconds to observe after the warm-up before projecting.
_SEEN_SHARE = 0.05
_SEEN_S = 3.0
# Tolerance of a projection above the limit: an unnecessary stop costs a resumption.
_MARGIN = 0.05
_RESUMES = "Raise the limit and run again: it resumes from its checkpoint."
_STARTS_OVER = "Raise the limit and run again: it starts over."


@dataclass(frozen=True)
class _Mark:
    """The costs at one step, such as the start of the projection."""

    done: float
    energy_j: float
    carbon_g: float
    duration_s: float


def without_promise(message: str) -> str:
    """Return the message of a stop whose checkpoint could not be saved: nothing resumes from it."""
    return message.removesuffix(_RESUMES).rstrip()


class StageGuard:
    """Checks the spending of a running stage against its limits and those on the total.

    Args:
        budget: The budget.
        stage: The running stage.
        spent_run: The run's spending before this execution, including resumed spending (`Ledger.spent` after `begin`
            and before the first heartbeat).
        spent_stage: The part of it spent on this stage.

    Attributes:
        stage: The running stage, with which each message begins.
    """

    def __init__(self, budget: Budget, *, stage: str, spent_run: Spent, spent_stage: Spent) -> None:
        self.stage = stage
        self._budget = budget
        pairs = [(limit, spent_stage) for limit in budget.limits_of(stage)]
        pairs += [(limit, spent_run) for limit in budget.total]
        self._first = spent_run == spent_stage  # nothing of other stages counts against the total
        self._held = [(limit, budget.binds(limit), self._amount(limit, spent)) for limit, spent in pairs]
        self._warned: set[int] = set()
        self._last_duration_s = -1.0
        self._first_done: float | None = None
        self._mark: _Mark | None = None

    def check(
        self,
        energy_j: float,
        carbon_g: float | None,
        duration_s: float,
        done: float,
        total: float,
        *,
        resumable: bool = True,
    ) -> tuple[str, ...]:
        """Check the limits, at every step. Without a new reading, the call returns at once.

        Args:
            energy_j: Joules of this execution, at the meter's latest reading.
            carbon_g: Grams of this execution; None if the intensity is unknown, and limits on carbon are not checked.
            duration_s: Seconds of this execution, at that reading.
            done: Units of work done, counted from the first attempt.
            total: Units of work in total.
            resumable: False for work without a checkpoint. Its steps may differ in cost, so nothing is projected: an
                early stop would waste what was spent.

        Returns:
            Warnings about limits that do not bind, each once.

        Raises:
            RefusedError: a binding limit is exceeded, or will be at this rate; save a checkpoint and do not catch it.
        """
        # After the last step, stopping saves nothing, and the gate judges.
        if duration_s == self._last_duration_s or done >= total or not self._held:
            return ()
        self._last_duration_s = duration_s
        now = _Mark(done=done, energy_j=energy_j, carbon_g=carbon_g or 0.0, duration_s=duration_s)
        start = self._start(now, total) if resumable else None
        warnings = []
        for place, (limit, binding, before) in enumerate(self._held):
            if limit.amount.dimension == "carbon" and carbon_g is None:
                continue
            message = self._broken(limit, before, now, start, total)
            if message is None or place in self._warned:
                continue
            message += _RESUMES if resumable else _STARTS_OVER
            if binding:
                raise RefusedError(message)
            self._warned.add(place)
            warnings.append(message)
        return tuple(warnings)

    def remaining(self, energy_j: float, carbon_g: float | None) -> tuple[float | None, float | None]:
        """Return the joules and grams left by the tightest limits; None if not limited.

        Money is converted to joules by the price.

        Args:
            energy_j: Joules of this execution so far.
            carbon_g: Grams of this execution so far; None if unknown.
        """
        spent = _Mark(done=0.0, energy_j=energy_j, carbon_g=carbon_g or 0.0, duration_s=0.0)
        left: dict[str, list[float]] = {"energy": [], "carbon": []}
        for limit, _, before in self._held:
            rest = limit.amount.value - before - self._amount(limit, spent)
            if limit.amount.dimension == "money" and self._budget.price_per_j:
                left["energy"].append(rest / self._budget.price_per_j)
            elif limit.amount.dimension in left:
                left[limit.amount.dimension].append(rest)
        return min(left["energy"], default=None), min(left["carbon"], default=None)

    def _start(self, now: _Mark, total: float) -> _Mark | None:
        """Return the start of the projection; None while it is too early."""
        if self._first_done is None:
            self._first_done = now.done
        ahead = total - self._first_done
        if self._mark is None:
            if now.done - self._first_done >= _WARM_UP_SHARE * ahead:
                self._mark = now
            return None
        seen = now.done - self._mark.done
        enough = seen > 0 and seen >= _SEEN_SHARE * ahead and now.duration_s - self._mark.duration_s >= _SEEN_S
        return self._mark if enough else None

    def _broken(self, limit: Limit, before: float, now: _Mark, start: _Mark | None, total: float) -> str | None:
        allowed = limit.amount.value
        value = before + self._amount(limit, now)
        if value > allowed:
            return self._message(limit, f"has spent {limit.quantity(value)}", now, total)
        if start is None:
            return None
        per_unit = (self._amount(limit, now) - self._amount(limit, start)) / (now.done - start.done)
        course = value + per_unit * (total - now.done)
        if course > allowed * (1 + _MARGIN):
            return self._message(limit, f"is on course for {limit.quantity(course)}", now, total)
        return None

    def _message(self, limit: Limit, what: str, now: _Mark, total: float) -> str:
        alone = self._first or limit.key.startswith("budget.stages.")
        whole = "" if alone else ", with the stages before it"
        return f"{self.stage} {what}{whole}, over {limit}, at {now.done:.10g} of {total:.10g}. "

    def _amount(self, limit: Limit, costs: Costs) -> float:
        return self._budget.amount(limit.amount.dimension, costs) or 0.0
