"""The policy `learned` on requests that were not used to choose its constants.

Constants are chosen from a small grid: the least mean square, over traces and wake times, of the excess over the
best fixed time-out in hindsight, since it is the worst that is to be kept low. Each recorded trace is judged with
the constants that the others and the families of `choosing_traces` lead to; the families of `judging_traces`,
which no choice sees, with those that all recorded traces lead to. Beside a drawn trace stands what even knowing
its law would have given: the time-out that is best on `_SIBLINGS` more draws of the same. What that spends above
the best in hindsight is chance.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from overwinter.serving.sleep import SleepLevels
from overwinter.serving.sleep.learned import Learned
from overwinter.serving.sleep.requests import Seconds
from overwinter.serving.sleep.simulation import best_fixed, replay, replay_fixed

WAKES_S = (0.2, 1.0, 5.0, 30.0, 120.0)
LIMIT = 1.02
GRID = [
    {"head_start": head_start, "clearly": clearly, "memories": (0.9998, short)}
    for head_start, clearly, short in itertools.product((1.0, 2.0, 3.0), (1.0, 2.0), (0.9, 0.95))
]
_CHOOSING_MOST, _JUDGING_MOST = 2000, 20_000  # arrivals of a recorded trace, from its first
_SIBLINGS = 8
_DAY_S = 86_400.0

Constants = dict[str, Any]
LevelsFor = Callable[[float], SleepLevels]
Draw = Callable[[np.random.Generator], Seconds]


def judge(recorded: dict[str, Seconds], levels_for: LevelsFor) -> dict[str, Any]:
    """Choose and judge; return the choices, every recorded trace, and the worst and mean of every family."""
    drawn = {name: _arrivals(draw(np.random.default_rng(seed))) for seed, (name, draw) in enumerate(choosing_traces())}
    seen = {name: _mean_squares(arrivals_s[:_CHOOSING_MOST], levels_for) for name, arrivals_s in recorded.items()}
    seen |= {name: _mean_squares(arrivals_s, levels_for) for name, arrivals_s in drawn.items()}
    traces = []
    for name, arrivals_s in recorded.items():
        constants = _choose({other: squares for other, squares in seen.items() if other != name})
        ratios = _ratios(arrivals_s[:_JUDGING_MOST], constants, levels_for)
        traces.append({"file": name, "constants": constants, "ratios": _by_wake(ratios)})
    constants = _choose(seen)
    worst = {wake: max(trace["ratios"][wake] for trace in traces) for wake in traces[0]["ratios"]}
    return {
        "limit": LIMIT,
        "constants": constants,
        "as_shipped": all(getattr(Learned, name) == value for name, value in constants.items()),
        "recorded": traces,
        "recorded_worst": worst,
        "met": max(worst.values()) <= LIMIT,
        "families": {family: _judge_family(draws, constants, levels_for) for family, draws in judging_traces().items()},
    }


def _choose(seen: dict[str, list[float]]) -> Constants:
    means = np.mean(list(seen.values()), axis=0)  # (grid,)
    return GRID[int(means.argmin())]


def _mean_squares(arrivals_s: Seconds, levels_for: LevelsFor) -> list[float]:
    return [
        statistics.fmean(max(0.0, ratio - 1) ** 2 for ratio in _ratios(arrivals_s, constants, levels_for))
        for constants in GRID
    ]


def _ratios(arrivals_s: Seconds, constants: Constants, levels_for: LevelsFor) -> list[float]:
    """Return the joules over those of the best fixed time-out, at every wake time."""
    policy = type("LearnedWithConstants", (Learned,), constants)
    ratios = []
    for sleep_levels in map(levels_for, WAKES_S):
        spent_j = replay(arrivals_s, policy(sleep_levels), sleep_levels).energy_j
        ratios.append(spent_j / best_fixed(arrivals_s, sleep_levels).energy_j)
    return ratios


def _judge_family(draws: list[Draw], constants: Constants, levels_for: LevelsFor) -> dict[str, Any]:
    ratios, knowing = [], []  # (traces, wakes)
    for seed, draw in enumerate(draws):
        source = np.random.default_rng([seed, len(draws)])
        arrivals_s = _arrivals(draw(source))
        more_s = _arrivals(np.concatenate([draw(source) for _ in range(_SIBLINGS)]))
        ratios.append(_ratios(arrivals_s, constants, levels_for))
        knowing.append(
            [_knowing_the_law(arrivals_s, more_s, sleep_levels) for sleep_levels in map(levels_for, WAKES_S)]
        )
    return {
        "traces": len(draws),
        "worst": _by_wake(np.max(ratios, axis=0)),
        "mean": _by_wake(np.mean(ratios, axis=0)),
        "above_limit": _by_wake((np.array(ratios) > LIMIT).sum(axis=0)),
        "knowing_the_law_worst": _by_wake(np.max(knowing, axis=0)),
        "knowing_the_law_mean": _by_wake(np.mean(knowing, axis=0)),
    }


def _knowing_the_law(arrivals_s: Seconds, more_s: Seconds, sleep_levels: SleepLevels) -> float:
    timeout_s = best_fixed(more_s, sleep_levels).timeout_s
    return replay_fixed(arrivals_s, timeout_s, sleep_levels).energy_j / best_fixed(arrivals_s, sleep_levels).energy_j


def _by_wake(figures: Any) -> dict[str, float]:
    return {f"{wake_s:g}": float(figure) for wake_s, figure in zip(WAKES_S, figures, strict=True)}


def _arrivals(gaps_s: Seconds) -> Seconds:
    return np.append(0.0, np.cumsum(gaps_s))


def choosing_traces() -> Iterator[tuple[str, Draw]]:
    """Yield the families that choices go by: lognormal gaps, clockwork, and sessions with pauses."""
    for mean, spread in ((0.0, 1.0), (1.0, 2.0), (-1.0, 2.5), (3.0, 1.5)):
        yield f"lognormal_{mean:g}_{spread:g}", lambda random, m=mean, s=spread: random.lognormal(m, s, 1000)
    for period_s in (20.0, 90.0, 600.0):
        yield f"clockwork_{period_s:g}", lambda random, p=period_s: p * random.uniform(0.95, 1.05, 500)
    for within_s, pause_s, count in ((0.2, 6.0, 8), (1.0, 40.0, 15), (3.0, 400.0, 5), (0.1, 90.0, 40)):
        name = f"sessions_{within_s:g}_{pause_s:g}_{count}"
        yield name, lambda random, w=within_s, p=pause_s, c=count: _sessions(random, w, p, c)


def _sessions(random: np.random.Generator, within_s: float, pause_s: float, count: int) -> Seconds:
    pauses = random.random(1000) < 1 / count
    return np.where(pauses, random.exponential(pause_s, 1000), random.exponential(within_s, 1000))


def judging_traces() -> dict[str, list[Draw]]:
    """Return the families that are judged and never chosen by."""
    return {
        "poisson": [_poisson(1 / rate, 2000) for rate in (0.002, 0.008, 0.02, 0.06, 0.25, 0.7, 4.0)],
        "days": [_days(quiet_s, busy_s) for quiet_s, busy_s in ((3000, 30), (1500, 100), (600, 20), (7200, 300))],
        "pareto_gaps": [_pareto(a, least_s, 2000) for a in (0.9, 1.3, 1.8) for least_s in (0.02, 0.2, 3.0)],
        "pareto_bursts": [
            _bursts(within_s, pause_s, count, 2000)
            for within_s, pause_s, count in ((0.03, 5, 15), (0.1, 15, 30), (0.5, 40, 20), (2, 100, 6), (6, 500, 4))
        ],
        "mixture": [
            _mixture(share, short_s, long_s, 2000)
            for share, short_s, long_s in ((0.5, 1, 50), (0.8, 0.3, 120), (0.9, 5, 300), (0.6, 0.05, 4))
        ],
        "change_of_regime": [
            _change(before_s, after_s, 2000)
            for before_s, after_s in ((0.3, 150), (30, 0.4), (400, 15), (3, 60), (1, 8))
        ],
        "one_hour_of_bursts": [
            _hour(within_s, pause_s, count)
            for within_s in (0.05, 0.3)
            for pause_s in (1.0, 4.0, 12.0)
            for count in (5, 20)
        ],
        "short": [_short(place) for place in range(48)],
    }


def _poisson(mean_s: float, count: int) -> Draw:
    return lambda random: random.exponential(mean_s, count)


def _days(quiet_s: float, busy_s: float) -> Draw:
    """Five days whose rate swings once a day between those of two mean gaps."""

    def draw(random: np.random.Generator) -> Seconds:
        times_s = np.cumsum(random.exponential(busy_s, int(6 * _DAY_S / busy_s)))
        share = busy_s / quiet_s + (1 - busy_s / quiet_s) * np.sin(np.pi * times_s / _DAY_S) ** 4
        return np.diff(times_s[(random.random(len(times_s)) < share) & (times_s < 5 * _DAY_S)])

    return draw


def _pareto(exponent: float, least_s: float, count: int) -> Draw:
    return lambda random: np.minimum(least_s * (1 + random.pareto(exponent, count)), 2 * 3600)


def _bursts(within_s: float, pause_s: float, mean_count: int, count: int) -> Draw:
    def draw(random: np.random.Generator) -> Seconds:
        pauses_s = np.minimum(pause_s * (0.2 + random.pareto(1.2, count)), 2 * 3600)
        return np.where(random.random(count) < 1 / mean_count, pauses_s, random.exponential(within_s, count))

    return draw


def _mixture(share: float, short_s: float, long_s: float, count: int) -> Draw:
    def draw(random: np.random.Generator) -> Seconds:
        means_s = np.where(random.random(count) < share, short_s, long_s)
        return means_s * random.exponential(1.0, count)

    return draw


def _change(before_s: float, after_s: float, count: int) -> Draw:
    means_s = np.repeat([before_s, after_s], count // 2)
    return lambda random: means_s * random.exponential(1.0, len(means_s))


def _hour(within_s: float, pause_s: float, mean_count: int) -> Draw:
    """As much of heavy-tailed bursts as an hour holds: few idle periods that decide anything."""

    def draw(random: np.random.Generator) -> Seconds:
        gaps_s = _bursts(within_s, pause_s, mean_count, 80_000)(random)
        return gaps_s[np.cumsum(gaps_s) < 3600]

    return draw


def _short(place: int) -> Draw:
    """One of four laws at one of twelve scales, 20 to 200 requests."""
    count, scale_s = 20 + (place * 61) % 181, 10 ** (-0.5 + 3 * (place // 4) / 11)
    return [
        _poisson(scale_s, count),
        _pareto(1.2, scale_s / 5, count),
        _mixture(0.8, scale_s / 30, 3 * scale_s, count),
        _change(scale_s, scale_s * (10 if place % 8 < 4 else 0.1), count + count % 2),
    ][place % 4]
