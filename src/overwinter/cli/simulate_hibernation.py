"""`overwinter simulate hibernation`: replay recorded requests through a sleep policy, compared with the optimum."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.serving.sleep import SleepLevels

_FIXED_S = {60: "fixed 60 s", 300: "fixed 300 s (Ollama)", 600: "fixed 600 s (Ray Serve)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recording, the policy and the costs of sleeping."""
    parser.add_argument(
        "--requests",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="CSV file with the columns seconds[,...], or seconds,count",
    )
    parser.add_argument(
        "--policy",
        required=True,
        metavar="P",
        help="break_even, fixed, learned, randomised, scheduled, or one of a plug-in",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the policy, its value as JSON or plain text, such as timeout_s=60",
    )
    for name, unit, what in (
        ("--park-w", "W", "power draw while parked, ready for requests"),
        ("--off-w", "W", "power draw while off"),
        ("--wake-s", "S", "duration of a wake"),
        ("--wake-w", "W", "power draw during a wake"),
    ):
        parser.add_argument(name, type=float, required=True, metavar=unit, help=what)
    parser.add_argument("--sleep-s", type=float, default=0.0, metavar="S", help="duration of the shutdown (0)")
    parser.add_argument(
        "--sleep-w", type=float, metavar="W", help="power draw during the shutdown; needed with --sleep-s"
    )
    parser.add_argument(
        "--slo-p95-s", type=float, metavar="S", help="limit on the 95th percentile of the added latency"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for spreading counted requests, and of the policy (0)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Replay the recording and print the comparison."""
    report = simulate(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        _print_table(report, arguments)
    return 0


def simulate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the policy, the optimum and fixed time-outs.

    Raises:
        ConfigError: An argument or the file is wrong.
    """
    from overwinter.serving.sleep import open_policy
    from overwinter.serving.sleep.requests import read_arrivals
    from overwinter.serving.sleep.simulation import best_fixed, optimum_j, replay, replay_fixed

    sleep_levels = _sleep_levels(arguments)
    policy = open_policy(
        arguments.policy,
        sleep_levels,
        seed=_seed(arguments.seed),
        options=dict(map(_option, arguments.option)),
        limit_p95_s=arguments.slo_p95_s,
    )
    arrivals_s = read_arrivals(arguments.requests, seed=arguments.seed)
    outcome = replay(arrivals_s, policy, sleep_levels)
    least_j = optimum_j(arrivals_s, sleep_levels)
    best = best_fixed(arrivals_s, sleep_levels)
    return {
        "policy": outcome.to_json(),
        "optimum": {"energy_j": least_j},
        "ratio": outcome.energy_j / least_j if least_j else 1.0,
        "fixed": {
            str(timeout_s): replay_fixed(arrivals_s, timeout_s, sleep_levels).to_json() for timeout_s in _FIXED_S
        },
        "best_fixed": {"timeout_s": best.timeout_s, "energy_j": best.energy_j},
    }


def _sleep_levels(arguments: argparse.Namespace) -> SleepLevels:
    from overwinter.serving.sleep import SleepLevel, SleepLevels

    if arguments.sleep_s and arguments.sleep_w is None:
        raise ConfigError(f"--sleep-s {arguments.sleep_s:g} needs --sleep-w, the power draw during that time.")
    sleep_w = arguments.sleep_w or 0.0
    off = SleepLevel(
        name="off",
        power_w=arguments.off_w,
        wake_s=arguments.wake_s,
        wake_j=arguments.wake_s * arguments.wake_w,
        sleep_s=arguments.sleep_s,
        sleep_j=arguments.sleep_s * sleep_w,
    )
    return SleepLevels([SleepLevel(name="parked", power_w=arguments.park_w), off])


def _seed(seed: int) -> int:
    if seed < 0:
        raise ConfigError(f"--seed {seed} must be at least 0.")
    return seed


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--option {text!r} must be KEY=VALUE, such as timeout_s=60.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _print_table(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from overwinter.units import format_duration

    table = Table(box=SIMPLE_HEAD, title=f"{arguments.requests.name}, waking takes {format_duration(arguments.wake_s)}")
    table.add_column("policy")
    for title in ("energy", "of the optimum", "wakes", "added latency p50", "p95"):
        table.add_column(title, justify="right")
    least_j = report["optimum"]["energy_j"]
    name = arguments.policy
    if arguments.slo_p95_s is not None:
        name += f", p95 within {format_duration(arguments.slo_p95_s)}"
    best_name = f"best fixed in hindsight, {format_duration(report['best_fixed']['timeout_s'])}"
    rows = [(name, report["policy"])]
    rows += [(_FIXED_S[int(timeout)], figures) for timeout, figures in report["fixed"].items()]
    rows += [(best_name, report["best_fixed"]), ("optimum, knowing the arrivals", report["optimum"])]
    for title, figures in rows:
        table.add_row(title, *_cells(figures, least_j))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _cells(figures: dict[str, Any], least_j: float) -> list[str]:
    from overwinter.units import format_duration, format_si

    share = f"{figures['energy_j'] / least_j:.3f}" if least_j else ""
    cells = [format_si(figures["energy_j"], "J"), share]
    if "wakes" in figures:
        cells.append(f"{figures['wakes']:,}")
        cells += [format_duration(figures[f"added_latency_{p}_s"]) for p in ("p50", "p95")]
    return cells
