"""What a served model draws on each rung, and what a wake from there costs: what a claim of joules saved rests on."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from overwinter.energy import EnergyMeter, EnergyReport

TOP = "ready"
_WINDOWS = 4  # per rung: what differs between them is in doubt
_SETTLE_S = 2.0  # a worker that has just started still imports what the next wake needs
_AFTER_S = 1.0  # of a wake, in which its last work is done


class Served(Protocol):
    """A model of a running server that nobody asks meanwhile, and whose policy lets it be."""

    def put(self, rung: str) -> None:
        """Put it on a rung; return when it is there."""

    def state_s(self) -> Mapping[str, float]:
        """Return the seconds spent in each state so far."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What `measure_draws` found.

    Attributes:
        watts: mean by rung, from `ready` down, of everything that the meter reads.
        uncertainty_w: standard uncertainty of each of them beside the others.
        wakes_j: mean of a wake by rung, above what `off` draws meanwhile, with what going there cost; of `preforked`
            without the start of its process.
        wake_uncertainty_j: standard uncertainty of each wake.
        wakes_s: 95th percentile of the duration of a wake, by rung.
        source: what was read, and how often; begins with `modelled` where no counter was.
    """

    watts: Mapping[str, float]
    uncertainty_w: float
    wakes_j: Mapping[str, float]
    wake_uncertainty_j: float
    wakes_s: Mapping[str, float]
    source: str

    @property
    def paying(self) -> list[str]:
        """The rungs that draw less than the one above them."""
        found = [TOP]
        for rung, watts in self.watts.items():
            if watts < self.watts[found[-1]]:
                found.append(rung)
        return found[1:]


@dataclass(frozen=True, kw_only=True)
class _Wake:
    duration_s: float
    energy_j: float


def measure_draws(
    served: Served,
    meter: EnergyMeter,
    rungs: Sequence[str],
    *,
    window_s: float,
    wakes: int,
    progress: Callable[[str], None] = lambda _said: None,
) -> Draws:
    """Put a model on each rung, meter it there, and wake it from there.

    Args:
        served: nothing else may happen to it, and on a shared machine, little else to the machine.
        meter: reads what is to count: running, with the server's processes in it.
        rungs: below `ready`, from the quickest to wake to the cheapest.
        window_s: of metering on each rung.
        wakes: from each rung, at least 2.
        progress: told what is being measured.
    """
    resting = {rung: _rest(served, meter, rung, window_s, progress) for rung in (TOP, *rungs)}
    watts = {rung: statistics.fmean(map(_power_w, reports)) for rung, reports in resting.items()}
    woken = {rung: [_wake(served, meter, rung, watts, progress) for _ in range(wakes)] for rung in rungs}
    wakes_j = {rung: max(0.0, statistics.fmean(wake.energy_j for wake in each)) for rung, each in woken.items()}
    off_w = min(watts.values())
    reports = list(itertools.chain.from_iterable(resting.values()))
    scale = sum(report.uncertainty_j for report in reports) / sum(report.energy_j for report in reports)
    scatter_w = max(statistics.stdev(map(_power_w, windows)) / math.sqrt(_WINDOWS) for windows in resting.values())
    scatter_j = max(statistics.stdev(wake.energy_j for wake in each) for each in woken.values())
    return Draws(
        watts=watts,
        uncertainty_w=math.hypot(scatter_w, scale * (watts[TOP] - off_w)),
        wakes_j=wakes_j,
        wake_uncertainty_j=math.hypot(scatter_j, scale * max(wakes_j.values())),
        wakes_s={rung: _percentile_95([wake.duration_s for wake in each]) for rung, each in woken.items()},
        source=f"{_sources(reports)}; {window_s:g} s on each rung, {wakes} wakes from each",
    )


def _rest(
    served: Served, meter: EnergyMeter, rung: str, window_s: float, progress: Callable[[str], None]
) -> list[EnergyReport]:
    progress(f"resting on {rung}")
    served.put(rung)
    time.sleep(_SETTLE_S)
    return [_watched(meter, rung, window_s / _WINDOWS) for _ in range(_WINDOWS)]


def _watched(meter: EnergyMeter, name: str, duration_s: float) -> EnergyReport:
    with meter.window(name) as window:
        time.sleep(duration_s)
    return window.close()


def _wake(
    served: Served, meter: EnergyMeter, rung: str, watts: Mapping[str, float], progress: Callable[[str], None]
) -> _Wake:
    """Return what going to a rung and waking from it costs, without what it rested.

    To `preforked` leads the start of a process, which a server counts by itself: it is over before the window begins.
    """
    progress(f"waking from {rung}")
    served.put(TOP)
    if rung == "preforked":
        served.put(rung)
    time.sleep(_SETTLE_S)
    before_s = served.state_s()
    with meter.window(rung) as window:
        served.put(rung)
        begin_s = time.monotonic()
        served.put(TOP)
        duration_s = time.monotonic() - begin_s
        time.sleep(_AFTER_S)
    after_s = served.state_s()
    lowest_w = min(watts.values())
    rested_j = sum((after_s[state] - before_s[state]) * watts.get(state, lowest_w) for state in after_s)
    return _Wake(duration_s=duration_s, energy_j=window.close().energy_j - rested_j)


def _power_w(report: EnergyReport) -> float:
    return report.energy_j / report.duration_s


def _percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def _sources(reports: Sequence[EnergyReport]) -> str:
    """Name the sources, `modelled` first: what was partly modelled is not called measured."""
    found = {part.source for report in reports for part in report.components}
    return ", ".join(sorted(found, key=lambda source: (source != "modelled", source)))
