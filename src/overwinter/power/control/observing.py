"""Observations for a policy: readings, each of which may fail, and operating points of the work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from overwinter.power.interface import OperatingPoint, Series

if TYPE_CHECKING:
    from overwinter.carbon import IntensitySource
    from overwinter.carbon.provider import Point
    from overwinter.energy import EnergyMeter
    from overwinter.power.prices import Prices

Reading = TypeVar("Reading")

_INTENSITY, _FORESEEN = "carbon intensity", "forecast of the carbon intensity"
_SHARE = "renewable share"
_SETTLING_S = 1.0  # after a change of the limit, until the device and its counter have settled
_MIN_STEP_S = 60.0
_MIN_S = 2.0  # minimum time under a limit for an operating point


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Sources of the readings: plain functions that return fast; a reading that raises is unknown.

    Attributes:
        energy_j: joules drawn so far by device, named as in energy.json.
        intensity_g_per_kwh: carbon intensity of the grid at a time.
        intensity_forecast: intensities of the step that contains a time, and of the next ones.
        renewable_share: renewable share of the electricity at a time, from 0 to 1.
        price_per_kwh: price of energy at a time.
        price_forecast: prices of the step that contains a time, and of the next ones.
        remaining: remaining budget: joules and grams.
    """

    energy_j: Callable[[], Mapping[str, float]]
    intensity_g_per_kwh: Callable[[datetime], float | None] | None = None
    intensity_forecast: Callable[[datetime], Series | None] | None = None
    renewable_share: Callable[[datetime], float | None] | None = None
    price_per_kwh: Callable[[datetime], float | None] | None = None
    price_forecast: Callable[[datetime], Series | None] | None = None
    remaining: Callable[[], tuple[float | None, float | None]] | None = None


def sources_of(
    carbon: IntensitySource,
    *,
    energy_j: Callable[[], Mapping[str, float]] = dict,
    remaining: Callable[[], tuple[float | None, float | None]] | None = None,
    prices: Prices | None = None,
) -> Sources:
    """Return the sources of a stage.

    Args:
        carbon: intensity source, with or without a forecast.
        energy_j: joules of a meter by device; see `metered`.
        remaining: remaining budget: joules and grams.
        prices: energy prices.
    """
    ahead = getattr(carbon, "forecast", None)
    return Sources(
        energy_j=energy_j,
        intensity_g_per_kwh=lambda time_utc: carbon.at(time_utc).g_per_kwh,
        intensity_forecast=(lambda time_utc: forecast_series(ahead(time_utc), time_utc)) if ahead else None,
        renewable_share=lambda time_utc: getattr(carbon.at(time_utc), "renewable_share", None),
        price_per_kwh=prices.at if prices else None,
        price_forecast=prices.forecast if prices else None,
        remaining=remaining,
    )


def metered(meter: EnergyMeter) -> dict[str, float]:
    """Return the joules that a meter has counted so far, by device."""
    drawn_j: dict[str, float] = {}
    for part in meter.read().components:  # a device whose source failed in between has two
        drawn_j[part.device] = drawn_j.get(part.device, 0.0) + part.energy_j
    return drawn_j


class Readings:
    """Readings of the sources; one that raises or is invalid is reported once and counts as unknown.

    Args:
        sources: the sources.
        notify: reports one line to the user.
    """

    def __init__(self, sources: Sources, notify: Callable[[str], None]) -> None:
        self._sources, self._notify = sources, notify
        self._reported: set[str] = set()

    def energies_j(self) -> Mapping[str, float]:
        """Return the joules drawn so far by device; empty if the meter fails."""
        return self._read("energy", self._sources.energy_j) or {}

    def remaining(self) -> tuple[float | None, float | None]:
        """Return the remaining budget: joules and grams."""
        source = self._sources.remaining
        return (self._read("remaining budget", source) if source is not None else None) or (None, None)

    def outside(self, now: datetime) -> dict[str, Any]:
        """Return an observation's fields of carbon and prices."""
        sources = self._sources
        intensity = self._at(_INTENSITY, sources.intensity_g_per_kwh, now)
        return {
            "intensity_g_per_kwh": self._figure(_INTENSITY, intensity, 0.0),
            "renewable_share": self._figure(_SHARE, self._at(_SHARE, sources.renewable_share, now), 0.0),
            "intensity_forecast": self._credible(self._at(_FORESEEN, sources.intensity_forecast, now)),
            "price_per_kwh": self._figure("price", self._at("price", sources.price_per_kwh, now), -math.inf),
            "price_forecast": self._at("forecast of the price", sources.price_forecast, now),
        }

    def _credible(self, forecast: Series | None) -> Series | None:
        """Replace invalid values of an intensity forecast with NaN, which policies bridge."""
        if forecast is None:
            return None
        values = [self._figure(_FORESEEN, value, 0.0) for value in forecast.values]
        return replace(forecast, values=tuple(math.nan if value is None else value for value in values))

    def _figure(self, what: str, value: Any, least: float) -> float | None:
        if value is None or (isinstance(value, (int, float)) and math.isfinite(value) and value >= least):
            return value
        if what not in self._reported:
            self._reported.add(what)
            self._notify(f"{what} of {value!r} is invalid and counts as unknown")
        return None

    def _at(self, what: str, source: Callable[[datetime], Reading] | None, now: datetime) -> Reading | None:
        return None if source is None else self._read(what, lambda: source(now))

    def _read(self, what: str, read: Callable[[], Reading]) -> Reading | None:
        try:
            return read()
        except Exception as error:  # noqa: BLE001 -- third parties' sources; the work continues without
            self._notify(f"{what} is unknown: {error!r}")
            return None


@dataclass
class _Stretch:
    """Seconds, joules and work under one limit, and the number of decisions in which they were measured."""

    duration_s: float = 0.0
    energy_j: float = 0.0
    work: float = 0.0
    trials: int = 0


@dataclass(kw_only=True)
class WorkMeter:
    """Power and speed since the last decision, and under each limit since the start.

    Attributes:
        latest_w: power of each device between the two latest readings.
    """

    latest_w: dict[str, float] = field(default_factory=dict)
    _now_s: float = math.nan
    _energies_j: dict[str, float] = field(default_factory=dict)
    _work: float = 0.0
    _limit_w: float | None = None
    _settled_s: float = math.inf
    _since: _Stretch = field(default_factory=_Stretch)
    _under: dict[float, _Stretch] = field(default_factory=dict)
    _begins_trial: bool = True

    def note(self, now_s: float, energies_j: Mapping[str, float], work_done: float | None) -> None:
        """Add a reading of the limited devices."""
        work = self._work if work_done is None else work_done
        gone_s = now_s - self._now_s
        if gone_s > 0:  # false at the first reading, when the previous time is NaN
            drawn_j = {
                device: energy_j - self._energies_j.get(device, energy_j) for device, energy_j in energies_j.items()
            }
            self.latest_w = {device: drawn / gone_s for device, drawn in drawn_j.items()}
            self._add(now_s, gone_s, sum(drawn_j.values()), max(0.0, work - self._work))
        self._now_s, self._energies_j, self._work = now_s, dict(energies_j), work

    def decided(self, limit_w: float | None) -> None:
        """Start a new measurement, under ``limit_w`` on every device; None: no common limit."""
        self._since = _Stretch()
        self._begins_trial = True
        if limit_w != self._limit_w:
            self._limit_w, self._settled_s = limit_w, self._now_s + _SETTLING_S

    def since_decision(self) -> tuple[float | None, float | None]:
        """Return mean power, and work per second, since the last decision; None if no time has passed."""
        if self._since.duration_s <= 0:
            return None, None
        return self._since.energy_j / self._since.duration_s, self._since.work / self._since.duration_s

    def points(self) -> tuple[OperatingPoint, ...]:
        """Return the operating points, in rising order of the limit."""
        return tuple(
            OperatingPoint(
                limit_w=limit_w,
                power_w=seen.energy_j / seen.duration_s,
                speed_per_s=seen.work / seen.duration_s,
                trials=seen.trials,
            )
            for limit_w, seen in sorted(self._under.items())
            if seen.duration_s >= _MIN_S and seen.work > 0
        )

    def _add(self, now_s: float, gone_s: float, drawn_j: float, work: float) -> None:
        stretches = [self._since]
        if self._limit_w is not None and now_s - gone_s >= self._settled_s:
            under = self._under.setdefault(self._limit_w, _Stretch())
            under.trials += self._begins_trial
            self._begins_trial = False
            stretches.append(under)
        for stretch in stretches:
            stretch.duration_s += gone_s
            stretch.energy_j += drawn_j
            stretch.work += work


def common_limit_w(limits_w: Iterable[float]) -> float | None:
    """Return the limit that all devices share, or None."""
    rounded = {round(limit_w, 1) for limit_w in limits_w}
    return rounded.pop() if len(rounded) == 1 else None


def merged_points(stored: Iterable[OperatingPoint], measured: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Return stored and measured points in rising order of the limit; measured points replace stored ones."""
    fresh = {round(point.limit_w, 1) for point in measured}
    kept = [point for point in stored if round(point.limit_w, 1) not in fresh]
    return tuple(sorted([*kept, *measured], key=lambda point: point.limit_w))


def forecast_series(points: Sequence[Point], time_utc: datetime) -> Series | None:
    """Return points as a series of even steps that starts with the step that contains ``time_utc``.

    Args:
        points: points in order of time, each valid until the next; gaps are filled with the value before them.
        time_utc: time of the observation.

    Returns:
        The series, or None if fewer than two points are known from then on.
    """
    later = [each for each in points if each.time_utc > time_utc]
    running = [each for each in points if each.time_utc <= time_utc][-1:]
    known = running + later
    if len(known) < 2:
        return None
    gaps_s = [(after.time_utc - each.time_utc).total_seconds() for each, after in pairwise(known)]
    step_s = max(min(gaps_s), _MIN_STEP_S)
    values = [each.g_per_kwh for each, gap_s in zip(known, gaps_s, strict=False) for _ in range(round(gap_s / step_s))]
    values.append(known[-1].g_per_kwh)
    return Series(start_utc=known[0].time_utc, step_s=step_s, values=tuple(values))
