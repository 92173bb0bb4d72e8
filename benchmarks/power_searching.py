"""Joules of jobs that search for the best power limit while they run (`energy_optimal`), over the minimum.

    python benchmarks/power_searching.py POWER [--repeats 20]

POWER holds zeus_power_*.csv, one table per GPU. Simulated: the tables' watts and seconds were measured, by others; a
job of 200 pieces of work runs under each limit that it tries. Three judges: every table with the constants that the
policy has; every table with the constants that do best on the other tables, from a grid around them (no table has
a say in what it judges); and random devices, with curves that follow physics and were not used for tuning.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np

from common import write_result
from overwinter.power.interface import OperatingPoint
from overwinter.power.policies import energy_optimal, probing
from overwinter.power.simulation.device import HOUR_S, DeviceTable, read_workloads
from overwinter.power.simulation.searching import Search, find_least_energy, summed_up

PIECES, SEED = 200, 0
NOISES = (0.0, 0.02, 0.05)
SLOWDOWNS = (0.05, 0.1, 0.2, 0.3)
TARGETS = {
    "mean": (1.006, 1.008, 1.015),  # averaged over the devices, at each noise
    "device": (1.007, 1.0095, 1.018),
    "worst_workload_without_noise": 1.03,
}
GRID = tuple(itertools.product((0.15, 0.25, 0.35), (0.02, 0.05, 0.1)))  # hopeless, doubt
FAMILIES = {"3 to 6 limits": (3, 7), "7 to 11 limits": (7, 12), "16 to 30 limits": (16, 31)}
_RANDOM = 60  # devices of each family

Workloads = Sequence[DeviceTable]


def main() -> None:
    """Judge, print it, and write results/power_searching.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("power", type=Path, metavar="POWER")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    paths = sorted(arguments.power.glob("zeus_power_*.csv"))
    tables = {path.stem.removeprefix("zeus_power_"): read_workloads(path, {}) for path in paths}
    devices = {name: by_noise(workloads, arguments.repeats) for name, workloads in tables.items()}
    content = {
        "label": "simulated on measured tables",
        "pieces": PIECES,
        "repeats": arguments.repeats,
        "noises": NOISES,
        "targets": TARGETS,
        "devices": devices,
        "mean_of_devices": [fmean(rows[place]["mean_ratio"] for rows in devices.values()) for place in (0, 1, 2)],
        "leave_one_device_out": left_out(tables, arguments.repeats),
        "random_devices": {name: by_noise(draw_devices(*limits), 1) for name, limits in FAMILIES.items()},
        "max_slowdown": {name: by_slowdown(workloads) for name, workloads in tables.items()},
    }
    print(f"mean of the devices: {content['mean_of_devices']}")
    print(f"Written to {write_result('power_searching', content)}.")


def by_noise(workloads: Workloads, repeats: int) -> list[dict[str, float]]:
    """Run every workload at each noise."""
    return [judged(workloads, Search(pieces=PIECES, noise=noise, repeats=repeats)) for noise in NOISES]


def by_slowdown(workloads: Workloads) -> list[dict[str, float]]:
    """Run every workload under each limit of its time, measured with 2 % of noise."""
    searches = [Search(pieces=PIECES, noise=0.02, max_slowdown=slowdown) for slowdown in SLOWDOWNS]
    return [{"max_slowdown": search.max_slowdown, **judged(workloads, search)} for search in searches]


def judged(workloads: Workloads, search: Search) -> dict[str, float]:
    """Run one search on every workload, and sum up."""
    found = [find_least_energy(workload, search, SEED) for workload in workloads]
    summary = {"noise": search.noise, "workloads": len(found), **summed_up(found)}
    summary["probes_of_a_sweep"] = fmean(each.probes / each.full_sweep for each in found)
    print({name: round(value, 5) for name, value in summary.items()}, flush=True)
    return summary


def left_out(tables: dict[str, Workloads], repeats: int) -> dict[str, Any]:
    """Judge each device with the constants that do best on the others."""
    means = {name: {pair: _mean_of(workloads, pair) for pair in GRID} for name, workloads in tables.items()}
    rows = {}
    for name, workloads in tables.items():
        others = [each for other, each in means.items() if other != name]
        chosen = min(GRID, key=lambda pair: sum(each[pair] for each in others))
        with constants(*chosen):
            rows[name] = {"hopeless": chosen[0], "doubt": chosen[1], "by_noise": by_noise(workloads, repeats)}
    return rows


def _mean_of(workloads: Workloads, pair: tuple[float, float]) -> float:
    """Return the mean ratio at the middle noise; two jobs of each workload are enough to choose by."""
    with constants(*pair):
        return judged(workloads, Search(pieces=PIECES, noise=NOISES[1], repeats=2))["mean_ratio"]


@contextlib.contextmanager
def constants(hopeless: float, doubt: float) -> Iterator[None]:
    """Give the policy other constants for a while."""
    with patch.object(probing, "_HOPELESS", hopeless), patch.object(energy_optimal, "_DOUBT", doubt):
        yield


def draw_devices(fewest: int, beyond: int, *, count: int = _RANDOM, seed: int = SEED) -> list[DeviceTable]:
    """Draw devices with ``fewest`` limits, or more, below ``beyond``."""
    rng = np.random.default_rng([seed, fewest])
    return [draw_device(rng, int(rng.integers(fewest, beyond))) for _ in range(count)]


def draw_device(rng: np.random.Generator, limits: int) -> DeviceTable:
    """Draw one device: power is idle plus a power of the clock, part of the time waits for memory, and both bump."""
    top_w = rng.choice([70.0, 150.0, 300.0, 700.0])
    limits_w = np.linspace(top_w * rng.uniform(0.25, 0.7), top_w, limits)  # (limits,)
    idle_w, free_w = top_w * rng.uniform(0.05, 0.35), top_w * rng.uniform(0.45, 1.3)
    exponent, waiting = rng.uniform(1.5, 3.2), rng.uniform(0, 0.9)
    clock = np.clip((limits_w - idle_w).clip(1e-6) / (free_w - idle_w), 0, 1) ** (1 / exponent)
    clock = clock.clip(rng.uniform(0.1, 0.4), 1)
    bumps = np.exp(rng.choice([0, 0.01, 0.03]) * rng.standard_normal(limits))
    speeds = 1 / (waiting + (1 - waiting) / clock) / bumps / HOUR_S
    rows = zip(limits_w, idle_w + (free_w - idle_w) * clock**exponent, speeds, strict=True)
    points = [OperatingPoint(limit_w=float(w), power_w=float(p), speed_per_s=float(s)) for w, p, s in rows]
    return DeviceTable(select={}, points=tuple(points))


if __name__ == "__main__":
    main()
