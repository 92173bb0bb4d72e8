"""A server's entries in the ledger: what it has spent, by model and state, in one entry a day.

The joules are those of the metrics: the time in each state at its power draw, the wakes and the responses. The entry is
written again at every interval, so that a killed server has lost at most the last one. The supervisor has one thread,
so that its workers can be forks; a meter has one of its own, and would draw more than a sleeping server.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from overwinter.files import digest
from overwinter.ledger import SERVE_PREFIX, Ledger
from overwinter.ledger.origin import Origin
from overwinter.serving.carbon_forecast import CarbonForecast
from overwinter.serving.metrics import Log, ModelMetrics
from overwinter.serving.plan import LedgerPlan

if TYPE_CHECKING:
    from overwinter.ledger import Execution

_CARBON_REFRESH_S = 3600.0  # asking a source starts a process, which costs some 10 J
_J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class _Reading:
    """What the models have spent since the server started."""

    joules: Mapping[str, Mapping[str, float]]
    uncertainty_j: float
    counts: Mapping[str, Mapping[str, float]]

    @property
    def total_j(self) -> float:
        return sum(sum(states.values()) for states in self.joules.values())

    def since(self, before: _Reading) -> dict[str, Any]:
        """Return the figures of each model since another reading, for the entry's metrics."""
        figures: dict[str, Any] = {}
        for name, states in self.joules.items():
            figures[name] = {key: count - before.counts[name][key] for key, count in self.counts[name].items()}
            figures[name]["energy_j"] = {state: joules - before.joules[name][state] for state, joules in states.items()}
        return figures


class Accounts:
    """The entries of one server. Disk errors are logged, and do not stop it.

    Args:
        plan: The ledger and what is known without asking.
        models: The metrics of each model, by name.
        carbon: The source of the carbon intensity, if it varies.
        log: The server's log.
        now: The clock.
    """

    def __init__(
        self,
        plan: LedgerPlan,
        models: Mapping[str, ModelMetrics],
        *,
        carbon: CarbonForecast,
        log: Log,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._plan, self._models, self._carbon, self._now = plan, models, carbon, now
        self._stage = f"{SERVE_PREFIX}{', '.join(models)}"
        self._ledger = Ledger.open(plan.path, log=lambda text: log("ledger", message=text))
        self._ledger.reap()
        self._begin()
        self._ledger.close()

    async def keep(self) -> None:
        """Write the entry at every interval, until cancelled."""
        while True:
            await asyncio.sleep(self._plan.interval_s)
            await self.write()

    async def write(self) -> None:
        """Write what was spent so far; on a new day, into a new entry."""
        reading = self._read()
        self._weigh(reading, await self._intensity_g_per_kwh())
        self._beat(reading)
        if self._now().date() != self._day:
            self._end(reading)
            self._begin()
        self._ledger.close()  # workers are forks, which would inherit the open file

    async def close(self) -> None:
        """Write the last figures, and close the entry."""
        await self.write()
        self._end(self._read())
        self._ledger.close()

    def _begin(self) -> None:
        self._day, self._before = self._now().date(), self._read()
        self._weighed_j, self._carbon_g = self._before.total_j, 0.0
        self._execution: Execution = self._ledger.begin(
            stage=self._stage,
            run_id=f"serve-{self._now():%Y%m%dT%H%M%S}",
            configuration_key=digest({"serve": sorted(self._models)}),
            origin=Origin(project=self._plan.project, person=self._plan.person),
        )

    def _read(self) -> _Reading:
        return _Reading(
            joules={name: each.joules() for name, each in self._models.items()},
            uncertainty_j=sum(each.uncertainty_j() for each in self._models.values()),
            counts={
                name: {"requests": each.requests, "wakes": each.wakes, "crashes": each.crashes}
                for name, each in self._models.items()
            },
        )

    def _weigh(self, reading: _Reading, g_per_kwh: float | None) -> None:
        """Add the grams of the joules since the last reading; from an unknown intensity on, the entry has none."""
        fresh_j, self._weighed_j = reading.total_j - self._weighed_j, reading.total_j
        self._carbon_g += math.nan if g_per_kwh is None else fresh_j / _J_PER_KWH * g_per_kwh

    async def _intensity_g_per_kwh(self) -> float | None:
        if self._plan.g_per_kwh is not None:
            return self._plan.g_per_kwh
        await self._carbon.points()
        return self._carbon.present_g_per_kwh

    def _beat(self, reading: _Reading) -> None:
        measured = all(each.basis == "measured" for each in self._models.values())
        self._execution.heartbeat(
            energy_j=reading.total_j - self._before.total_j,
            uncertainty_j=max(0.0, reading.uncertainty_j - self._before.uncertainty_j),
            measured_fraction=float(measured),
            carbon_g=None if math.isnan(self._carbon_g) else self._carbon_g,
            metrics=self._figures(reading),
        )

    def _end(self, reading: _Reading) -> None:
        self._execution.finish(status="done", exit_code=0, metrics=self._figures(reading))

    def _figures(self, reading: _Reading) -> dict[str, Any]:
        bases = sorted({each.basis for each in self._models.values()})
        return {"energy_basis": " and ".join(bases), "models": reading.since(self._before)}


@contextlib.asynccontextmanager
async def accounted(
    plan: LedgerPlan, models: Mapping[str, ModelMetrics], *, carbon: Mapping[str, Any], log: Log
) -> AsyncIterator[None]:
    """Keep the server's entries while the block runs, and close the last one after it.

    Args:
        plan: The ledger.
        models: The metrics of each model, by name.
        carbon: The group `carbon/`, validated.
        log: The server's log.
    """
    forecast = CarbonForecast(carbon, refresh_s=_CARBON_REFRESH_S, log=log)
    accounts = Accounts(plan, models, carbon=forecast, log=log)
    task = asyncio.get_running_loop().create_task(accounts.keep())
    try:
        yield
    finally:
        task.cancel()
    await accounts.close()
