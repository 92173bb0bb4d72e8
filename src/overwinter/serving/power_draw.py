"""Measurement of a served model's power draw at each sleep level and of its wakes, the basis of reported savings."""

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
_WINDOWS = 4  # per sleep level: the differences between them matter
_SETTLE_S = 2.0  # a worker that has just started still imports what the next wake needs
_AFTER_S = 1.0  # after a wake, for its remaining work


class Served(Protocol):
    """A model of a running server without other clients, and with a policy that never moves it."""

    def put(self, level: str) -> None:
        """Move the model to a sleep level; return when it is reached."""

    def state_s(self) -> Mapping[str, float]:
        """Return the seconds spent in each state so far."""

    def respond(self) -> None:
        """Send a request, and wait for its response."""

    def responding_s(self) -> float:
        """Return the seconds that a worker computed responses so far."""


@dataclass(frozen=True, kw_only=True)
class PowerDraw:
    """The result of `measure_power_draw`.

    Attributes:
        watts: The mean power by sleep level, from `ready` down, of everything that the meter reads.
        responding_w: The mean power of computing responses one after the other, above that of `ready`.
        uncertainty_w: The standard uncertainty of each of them relative to the others.
        wakes_j: The mean energy of a wake by sleep level, above the draw of `off`, with the energy of going there;
            for `preforked` without the start of its process.
        wake_uncertainty_j: The standard uncertainty of each wake.
        wakes_s: The 95th percentile of the duration of a wake, by sleep level.
        source: The sources, and the extent of the measurement; begins with `modelled` if no counter was read.
    """

    watts: Mapping[str, float]
    responding_w: float
    uncertainty_w: float
    wakes_j: Mapping[str, float]
    wake_uncertainty_j: float
    wakes_s: Mapping[str, float]
    source: str

    @property
    def paying(self) -> list[str]:
        """Return the sleep levels that draw less than the one above them."""
        found = [TOP]
        for level, watts in self.watts.items():
            if watts < self.watts[found[-1]]:
                found.append(level)
        return found[1:]


@dataclass(frozen=True, kw_only=True)
class _Wake:
    duration_s: float
    energy_j: float


def measure_power_draw(
    served: Served,
    meter: EnergyMeter,
    levels: Sequence[str],
    *,
    window_s: float,
    wakes: int,
    progress: Callable[[str], None] = lambda _messages: None,
) -> PowerDraw:
    """Meter a model at each sleep level, while it responds, and while it wakes.

    Args:
        served: The model, without other clients, on a machine with little other load.
        meter: A running meter that includes the server's processes.
        levels: The levels below `ready`, from the quickest to wake to the cheapest.
        window_s: The metering time at each sleep level, and of responses.
        wakes: The number of wakes from each sleep level, at least 2.
        progress: Receives a line about each measurement.
    """
    idle = {level: _stay_idle(served, meter, level, window_s, progress) for level in (TOP, *levels)}
    watts = {level: statistics.fmean(map(_power_w, reports)) for level, reports in idle.items()}
    responding_w = _responding_w(served, meter, watts[TOP], window_s, progress)
    woken = {level: [_wake(served, meter, level, watts, progress) for _ in range(wakes)] for level in levels}
    wakes_j = {level: max(0.0, statistics.fmean(wake.energy_j for wake in each)) for level, each in woken.items()}
    off_w = min(watts.values())
    reports = list(itertools.chain.from_iterable(idle.values()))
    scale = sum(report.uncertainty_j for report in reports) / sum(report.energy_j for report in reports)
    scatter_w = max(statistics.stdev(map(_power_w, windows)) / math.sqrt(_WINDOWS) for windows in idle.values())
    scatter_j = max(statistics.stdev(wake.energy_j for wake in each) for each in woken.values())
    return PowerDraw(
        watts=watts,
        responding_w=responding_w,
        uncertainty_w=math.hypot(scatter_w, scale * (watts[TOP] - off_w)),
        wakes_j=wakes_j,
        wake_uncertainty_j=math.hypot(scatter_j, scale * max(wakes_j.values())),
        wakes_s={level: _percentile_95([wake.duration_s for wake in each]) for level, each in woken.items()},
        source=f"{_sources(reports)}; {window_s:g} s at each sleep level, {wakes} wakes from each",
    )


def _stay_idle(
    served: Served, meter: EnergyMeter, level: str, window_s: float, progress: Callable[[str], None]
) -> list[EnergyReport]:
    progress(f"staying at {level}")
    served.put(level)
    time.sleep(_SETTLE_S)
    return [_watched(meter, level, window_s / _WINDOWS) for _ in range(_WINDOWS)]


def _watched(meter: EnergyMeter, name: str, duration_s: float) -> EnergyReport:
    with meter.window(name) as window:
        time.sleep(duration_s)
    return window.close()


def _responding_w(
    served: Served, meter: EnergyMeter, ready_w: float, window_s: float, progress: Callable[[str], None]
) -> float:
    """Return the power above ``ready_w`` of computing responses, over the workers' time for them."""
    progress("responding")
    served.put(TOP)
    time.sleep(_SETTLE_S)
    begin_s, before_s = time.monotonic(), served.responding_s()
    with meter.window("responding") as window:
        while time.monotonic() - begin_s < window_s:
            served.respond()
    report = window.close()
    above_j = report.energy_j - ready_w * report.duration_s
    return max(0.0, above_j / (served.responding_s() - before_s))


def _wake(
    served: Served, meter: EnergyMeter, level: str, watts: Mapping[str, float], progress: Callable[[str], None]
) -> _Wake:
    """Return the cost of going to a sleep level and waking from it, without the time in between.

    Going to `preforked` starts a process, which a server counts separately: that is over before the window begins.
    """
    progress(f"waking from {level}")
    served.put(TOP)
    if level == "preforked":
        served.put(level)
    time.sleep(_SETTLE_S)
    before_s = served.state_s()
    with meter.window(level) as window:
        served.put(level)
        begin_s = time.monotonic()
        served.put(TOP)
        duration_s = time.monotonic() - begin_s
        time.sleep(_AFTER_S)
    after_s = served.state_s()
    lowest_w = min(watts.values())
    idle_j = sum((after_s[state] - before_s[state]) * watts.get(state, lowest_w) for state in after_s)
    return _Wake(duration_s=duration_s, energy_j=window.close().energy_j - idle_j)


def _power_w(report: EnergyReport) -> float:
    return report.energy_j / report.duration_s


def _percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def _sources(reports: Sequence[EnergyReport]) -> str:
    """Return the names of the sources, `modelled` first: a partly modelled result is not called measured."""
    found = {part.source for report in reports for part in report.components}
    return ", ".join(sorted(found, key=lambda source: (source != "modelled", source)))
