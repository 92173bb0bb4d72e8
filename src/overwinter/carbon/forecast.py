"""Forecast of carbon intensity for the coming hours and days from past values, for providers without a forecast.

A climatology (mean by hour of the week, with more weight on recent weeks) removes what repeats. The deviations,
divided by their usual size at that hour of the day, are extrapolated by linear autoregressions over the last days and
the last week, with coefficients shrunk towards their mean over the hours of the day. Every day, all is refitted on
all past hours, and on those of other regions if given (each region has its own climatology; the dynamics are
shared). Two orders are averaged, since neither is best.

Only the past is used: the forecast for an hour depends on the hours before it, and on the current hour's value if
known, as from a live source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from overwinter.carbon.trace import Trace

Floats = NDArray[np.float64]

HOUR_S = 3600.0
_DAY, _WEEK = 24, 168  # hours
_ORDERS = (_WEEK + 1, 3 * _DAY + 1)  # lags of the regressions, in hours
_HALF_LIFE = 60 * _DAY  # of an hour's weight in the climatology; in hours
_PRIOR_WEEKS = 4.0  # weeks after which an hour of the week weighs as much as the hour of the day
_RIDGE = 1e-3  # relative to the mean variance
_HOURLY_LAGS = _DAY  # lags whose coefficients follow the hour of the day
_HOURLY_RIDGE = 0.3
_HOURLY_REACH = 4  # hours around an hour of the day that its coefficients are fitted on
_OTHERS = 0.3  # weight of another region's hours
_MIN_HISTORY = 28 * _DAY  # hours; with less, the last day repeats


@dataclass(frozen=True, kw_only=True, eq=False)
class Hours:
    """Hourly values.

    Attributes:
        first: hours from 1970 to the first value.
        values: (hours,).
    """

    first: int
    values: Floats

    def until(self, hour: int) -> Hours:
        """Return the values before ``hour``."""
        return Hours(first=self.first, values=self.values[: max(0, hour - self.first)])


def hour_of(time_utc: datetime) -> int:
    """Return the whole hours from 1970 to ``time_utc``."""
    return int(time_utc.timestamp() // HOUR_S)


def by_hour(trace: Trace) -> Hours:
    """Return the means of the hours that ``trace`` covers fully; a longer step applies to all of its hours."""
    start_s = trace.start_utc.astimezone(UTC).timestamp()
    edges_s = start_s + trace.step_s * np.arange(len(trace.values) + 1)
    summed = np.concatenate([[0.0], np.cumsum(np.asarray(trace.values, dtype=float) * trace.step_s)])
    first, last = int(-(-start_s // HOUR_S)), int(edges_s[-1] // HOUR_S)
    at_hours = np.interp(HOUR_S * np.arange(first, last + 1), edges_s, summed)
    return Hours(first=first, values=np.diff(at_hours) / HOUR_S)


class Forecaster:
    """Forecasts from a history; values after the time of the forecast are ignored.

    Args:
        history: history of the region.
        others: histories of other regions, at any time.
        now_known: whether the current hour's value is known, as from a live source.
    """

    def __init__(self, history: Hours, others: Sequence[Hours] = (), *, now_known: bool = True) -> None:
        self._history, self._others, self._now_known = history, tuple(others), now_known
        self._models: dict[int, tuple[_Model, ...]] = {}  # by day

    def at(self, hour: int, steps: int) -> Floats:
        """Return the forecast of ``hour`` and the hours after it; (steps,).

        Raises:
            ValueError: there is no earlier hour.
        """
        past, place = self._history.until(hour), hour - self._history.first
        if not len(past.values):
            raise ValueError("a forecast needs at least one hour of history")
        if not self._now_known or place >= len(self._history.values):
            return self._from(past, hour, steps)
        later = self._from(self._history.until(hour + 1), hour + 1, steps - 1)
        return np.concatenate([self._history.values[place : place + 1], later])

    def _from(self, past: Hours, hour: int, steps: int) -> Floats:
        if steps <= 0:
            return np.zeros(0)
        day = hour // _DAY
        if day not in self._models:
            self._models[day] = self._fit(day * _DAY)
        if not self._models[day]:
            return _repeated(past.values, steps)
        return np.asarray(np.mean([model.forecast(past, steps) for model in self._models[day]], axis=0))

    def _fit(self, hour: int) -> tuple[_Model, ...]:
        """Fit on the hours before the day that begins at ``hour``."""
        return _fitted(self._history.until(hour), [other.until(hour) for other in self._others])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Climate:
    """Mean and usual deviation by hour of the week; (168,) each."""

    level: Floats
    scatter: Floats

    def standard(self, hours: Hours) -> Floats:
        """Return the standardized deviations of ``hours``."""
        which = _hours(hours) % _WEEK
        return (hours.values - self.level[which]) / self.scatter[which]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """An autoregression of the deviations.

    Attributes:
        climate: climatology of the region.
        weights: weights of the last hours, the latest last, for each hour of the day; (24, order).
    """

    climate: _Climate
    weights: Floats

    def forecast(self, past: Hours, steps: int) -> Floats:
        order, next_hour = self.weights.shape[1], past.first + len(past.values)
        recent = Hours(first=next_hour - order, values=past.values[-order:])
        line = np.concatenate([self.climate.standard(recent), np.zeros(steps)])
        for step in range(steps):
            line[order + step] = self.weights[(next_hour + step) % _DAY] @ line[step : order + step]
        which = (next_hour + np.arange(steps)) % _WEEK
        return np.asarray(self.climate.level[which] + self.climate.scatter[which] * line[order:])


def _fitted(past: Hours, others: Sequence[Hours]) -> tuple[_Model, ...]:
    if len(past.values) < _MIN_HISTORY:
        return ()
    climate = _climate(past)
    regions = [(1.0, past, climate)]
    regions += [(_OTHERS, other, _climate(other)) for other in others if len(other.values) >= _MIN_HISTORY]
    standard = [(weight, region.standard(hours)) for weight, hours, region in regions]
    return tuple(_Model(climate=climate, weights=_weights(standard, order, first_hour=past.first)) for order in _ORDERS)


def _climate(hours: Hours) -> _Climate:
    hour = _hours(hours)
    weight = 0.5 ** ((len(hour) - 1 - np.arange(len(hour))) / _HALF_LIFE)
    daily = _mean_by(hour % _DAY, hours.values, weight, _DAY)
    away = hours.values - daily[hour % _DAY]
    counts = np.bincount(hour % _WEEK, weight, _WEEK)
    weekly = np.bincount(hour % _WEEK, weight * away, _WEEK) / (counts + _PRIOR_WEEKS)
    level = daily[np.arange(_WEEK) % _DAY] + weekly
    rest = hours.values - level[hour % _WEEK]
    return _Climate(level=level, scatter=_scatter(hour, rest)[np.arange(_WEEK) % _DAY])


def _scatter(hour: NDArray[np.intp], rest: Floats) -> Floats:
    """Return the usual deviation by hour of the day, shrunk halfway towards their mean; (24,)."""
    overall = float(rest.std())
    if overall <= 0:
        return np.ones(_DAY)
    daily = np.sqrt(_mean_by(hour % _DAY, rest**2, np.ones(len(rest)), _DAY))
    daily = (np.roll(daily, 1) + daily + np.roll(daily, -1)) / 3
    return np.asarray(overall * np.sqrt(np.maximum(daily / daily.mean(), 1e-3)))


def _weights(regions: Sequence[tuple[float, Floats]], order: int, *, first_hour: int) -> Floats:
    """Fit the autoregression of ``order``; the coefficients by hour of the day come from the first region alone."""
    equations = sum(weight * _lag_products(deviations, order) for weight, deviations in regions)
    products, targets = np.asarray(equations)[:order, :order], np.asarray(equations)[:order, order]
    common = _ridge(products, targets, _RIDGE * float(np.trace(products)) / order)
    own = regions[0][1]
    rest = own[order:] - np.convolve(own, common[::-1], "valid")[:-1]
    recent = np.lib.stride_tricks.sliding_window_view(own[order - _HOURLY_LAGS :], _HOURLY_LAGS)[:-1]
    hour = (first_hour + order + np.arange(len(rest))) % _DAY
    return np.asarray(common + _hourly(recent, rest, hour, order))


def _lag_products(deviations: Floats, order: int) -> Floats:
    """Return the sums of products of all pairs of ``order + 1`` consecutive hours; (order + 1, order + 1).

    They are the normal equations of an hour on the ones before it, in a fraction of the time: consecutive windows
    differ only in their first and last hour, so each row follows from the row above it.
    """
    rows = len(deviations) - order
    sums = np.empty((order + 1, order + 1))
    sums[0] = np.correlate(deviations, deviations[:rows], "valid")
    sums[1:, 0] = sums[0, 1:]
    leaves, enters = deviations[:order], deviations[rows : rows + order]
    for place in range(order):
        sums[place + 1, 1:] = sums[place, :-1] - leaves[place] * leaves + enters[place] * enters
    return sums


def _hourly(rows: Floats, rest: Floats, hour: NDArray[np.intp], order: int) -> Floats:
    """Return the adjustment of the weights for each hour of the day, fitted on the hours around it; (24, order)."""
    products = np.array([rows[hour == each].T @ rows[hour == each] for each in range(_DAY)])
    targets = np.array([rows[hour == each].T @ rest[hour == each] for each in range(_DAY)])
    away = np.abs(np.arange(_DAY)[:, None] - np.arange(_DAY))
    near = np.clip(1 - np.minimum(away, _DAY - away) / _HOURLY_REACH, 0.0, None)  # (24, 24)
    penalty = _HOURLY_RIDGE * len(rest) / _DAY
    added = np.zeros((_DAY, order))
    for each in range(_DAY):
        around = np.tensordot(near[each], products, axes=1)
        added[each, order - rows.shape[1] :] = _ridge(around, near[each] @ targets, penalty)
    return added


def _ridge(products: Floats, targets: Floats, penalty: float) -> Floats:
    return np.asarray(np.linalg.solve(products + max(penalty, 1e-9) * np.eye(len(products)), targets))


def _mean_by(which: NDArray[np.intp], values: Floats, weight: Floats, count: int) -> Floats:
    sums, counts = np.bincount(which, weight * values, count), np.bincount(which, weight, count)
    return np.asarray(sums / np.maximum(counts, 1e-12))


def _hours(hours: Hours) -> NDArray[np.intp]:
    return hours.first + np.arange(len(hours.values))


def _repeated(values: Floats, steps: int) -> Floats:
    """Return the last day repeated, with its missing hours interpolated; with less than half a day, the last value.

    Missing hours at the beginning of a reported day must not turn the forecast into a flat line.
    """
    last = values[-_DAY:]
    if len(last) < _DAY // 2:
        return np.resize(values[-1:], steps)
    between = np.linspace(last[-1], last[0], _DAY - len(last) + 2)[1:-1]
    return np.resize(np.concatenate([between, last]), steps)
