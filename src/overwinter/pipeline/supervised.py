"""Work under supervision: metered, held to its budget and capped. A stage is one kind of it, a watched script another.

`Supervised` is the state that both have; `supervising` runs the meter, the watch, the power policy and the signals
around it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from overwinter.budget import parse_budget
from overwinter.pipeline.stepping import StepCosts, Stepping

if TYPE_CHECKING:
    from overwinter.budget import Budget, StageGuard
    from overwinter.config.groups import BudgetConfig, EnergyConfig, HardwareConfig
    from overwinter.energy import EnergyMeter
    from overwinter.energy.quiet import QuietDevices
    from overwinter.ledger import Spent
    from overwinter.pipeline.watch import Spent as Costs
    from overwinter.pipeline.watch import Watch
    from overwinter.power.control.loop import PowerControl


class SupervisionConfig(Protocol):
    """The groups of the configuration that supervision needs."""

    energy: EnergyConfig
    hardware: HardwareConfig
    budget: BudgetConfig
    carbon: Any
    power: Any


class Supervised(ABC):
    """Work under supervision.

    Attributes:
        name: The name in messages, in energy.json and in the ledger.
        config: The configuration of the supervision.
        meter: The running energy meter.
        budget: The budget.
        guard: The check of the running work against its limits; None before admission.
        control: The running power policy; None if there is none.
        resumed: The spending of earlier attempts, up to the checkpoint that this one resumed from.
        devices: What the work uses of this machine, shared with other runs; None if it is not shared.
        waited_s: Seconds that the process waited for other runs before its meter was opened.
        position: Units of work done and in total, as last reported.
        interrupted: Whether a signal asked the work to stop at its next step.
        last_progress_s: The monotonic time of the last report of progress.
    """

    def __init__(self, name: str, config: SupervisionConfig) -> None:
        self.name = name
        self.config = config
        self.meter: EnergyMeter
        self.budget: Budget = parse_budget(config.budget)
        self.guard: StageGuard | None = None
        self.control: PowerControl | None = None
        self.resumed: Spent | None = None
        self.devices: QuietDevices | None = None
        self.waited_s = 0.0
        self.position: tuple[float | None, float | None] = (None, None)
        self.interrupted = False
        self.last_progress_s = 0.0
        self._watch: Watch | None = None
        self._stepping: Stepping | None = None

    @abstractmethod
    def log(self, text: str) -> None:
        """Print one line for the user."""

    @abstractmethod
    def profile_place(self, folder: str) -> Path:
        """Return the file of this work's power profile in ``folder``."""

    @abstractmethod
    def workload(self) -> Mapping[str, Any]:
        """Return the settings that determine one step of the work, to which its power profile belongs."""

    @abstractmethod
    def kept(self) -> str:
        """Return what is kept if the work is interrupted now, before its next step, and how to go on."""

    def follow(self, spent: Costs) -> None:  # noqa: B027 -- a stage needs none
        """Take note of a reading, twice a second in the watch's thread, and at the end."""

    def remaining(self) -> tuple[float | None, float | None]:
        """Return the joules and grams left for this work in the budget; None if not limited."""
        if self.guard is None or self._watch is None:
            return None, None
        spent = self._watch.latest
        return self.guard.remaining(spent.report.energy_j, spent.carbon_g)

    def attach(self, *, meter: EnergyMeter, watch: Watch) -> None:
        """Attach the meter and the watch."""
        self.meter, self._watch, self._stepping = meter, watch, Stepping(meter.read)

    def spent_j(self) -> float:
        """Return the joules so far, with those of the attempts that this one resumed."""
        before_j = 0.0 if self.resumed is None else self.resumed.energy_j
        return before_j + (0.0 if self._watch is None else self._watch.latest.report.energy_j)

    def step_costs(self) -> StepCosts | None:
        """Return the cost of the steps so far; None if no comparable steps are reported."""
        return self._stepping.costs() if self._stepping is not None else None

    def _reach(self, done: float, total: float) -> None:
        """Record that a step is reached."""
        self.last_progress_s, self.position = time.monotonic(), (done, total)

    def _note_step(self, done: float, total: float) -> None:
        """Record a step whose cost is comparable with the others'."""
        if self._watch is not None and self._stepping is not None:
            self._stepping.note(done, total, self._watch.latest.report)

    def _hold_to_budget(self, done: float, total: float, *, kept: bool) -> None:
        """Raise RefusedError if the budget is exceeded, or will be; ``kept``: the work has a checkpoint."""
        if self.guard is None or self._watch is None:
            return
        spent = self._watch.latest
        report = spent.report
        for warning in self.guard.check(
            report.energy_j, spent.carbon_g, report.duration_s, done, total, resumable=kept
        ):
            self.log(warning.removeprefix(f"{self.guard.stage} "))  # each line of the log begins with the name

    def _spent(self) -> dict[str, float]:
        if self._watch is None:
            return {}
        spent = self._watch.latest
        report = spent.report
        costs = {"energy_j": report.energy_j, "carbon_g": spent.carbon_g, "duration_s": report.duration_s}
        left_j, _ = self.remaining()
        return costs if left_j is None else costs | {"budget_left_j": left_j}
