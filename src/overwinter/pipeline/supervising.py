"""The supervision around work that runs: its meter and watch, its power policy, its signals, its ledger's status."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from overwinter.errors import EXIT_REFUSED, OverwinterError
from overwinter.pipeline.capping import capped
from overwinter.pipeline.signals import interrupts_handled

if TYPE_CHECKING:
    from overwinter.ledger import Execution
    from overwinter.pipeline.supervised import Supervised
    from overwinter.pipeline.watch import Spent

_ONE_REQUEST_S = 1.0  # a batch system's signal reaches the stage by itself, and once more through what started it
STEP_PATIENCE_S = 2.0  # work that reported a step within this time is stopped at its next step


@contextlib.contextmanager
def metered(
    work: Supervised, execution: Execution, *, since_process_start: bool = False
) -> Iterator[Callable[[], Spent]]:
    """Meter the work inside the context, keep its ledger entry current, and apply its power policy.

    Args:
        work: The work; its meter, watch and control are attached.
        execution: Its entry in the ledger.
        since_process_start: Whether energy counts from the start of this process.

    Yields:
        A function that returns the final costs, once the context has ended.
    """
    from overwinter.energy import open_meter
    from overwinter.pipeline.watch import Watch

    config, carbon = work.config, work.config.carbon.open()
    final: list[Spent] = []
    with open_meter(
        config.energy, config.hardware, since_process_start=since_process_start, waited_s=work.waited_s
    ) as meter:
        watch = Watch(meter, carbon, lambda spent: _note(execution, spent, work))
        try:
            work.attach(meter=meter, watch=watch)
            with capped(work, meter, carbon) as work.control:
                yield lambda: final[0]
        finally:
            final.append(watch.close())
            _note(execution, final[0], work)


def _note(execution: Execution, spent: Spent, work: Supervised) -> None:
    beat(execution, spent, work)
    work.follow(spent)


def beat(execution: Execution, spent: Spent, work: Supervised) -> None:
    """Record the costs so far in the ledger."""
    report, price_per_j, costs = spent.report, work.budget.price_per_j, work.step_costs()
    execution.heartbeat(
        energy_j=report.energy_j,
        uncertainty_j=report.uncertainty_j,
        measured_fraction=report.measured_fraction,
        idle_j=report.idle_j,
        carbon_g=spent.carbon_g,
        cost=None if price_per_j is None else price_per_j * report.energy_j,
        currency=work.budget.currency,
        done=work.position[0],
        total=work.position[1],
        waited_s=work.devices.waited_s if work.devices is not None else 0.0,
        **(asdict(costs) if costs is not None else {}),
    )


def status_of(error: BaseException) -> str:
    """Return the ledger's status of work that ended with ``error``."""
    from overwinter.pipeline.stage import InterruptedStageError
    from overwinter.power.control.pausing import PausedError

    if isinstance(error, (KeyboardInterrupt, InterruptedStageError, PausedError)):
        return "interrupted"
    return "refused" if isinstance(error, OverwinterError) and error.exit_code == EXIT_REFUSED else "failed"


@contextlib.contextmanager
def signals_handled(work: Supervised) -> Iterator[None]:
    """End the work on SIGINT or SIGTERM: at its next step, with a checkpoint; at once without steps or if repeated."""
    asked_s = -math.inf

    def handle() -> None:
        nonlocal asked_s
        repeated_at_once, asked_s = time.monotonic() - asked_s < _ONE_REQUEST_S, time.monotonic()
        if repeated_at_once:
            return
        steps = time.monotonic() - work.last_progress_s < STEP_PATIENCE_S
        if not steps or work.interrupted:
            raise KeyboardInterrupt(f"{work.name} was interrupted before its next step. {work.kept()}")
        work.interrupted = True

    with interrupts_handled(handle):
        yield
