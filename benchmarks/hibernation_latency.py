"""Cost of a latency limit in joules: a curve for each recorded request file, wake time and policy.

    python benchmarks/hibernation_latency.py [--requests ../shared/data/requests] [--seed 0]

A simulation, in the accounting of `overwinter simulate hibernation --slo-p95-s`: no joule is measured here. Watts and
files are those of hibernation_policies.py. The limit goes from zero to the wake time; for comparison there are a
model that never sleeps and fixed time-outs, which have no limit on the latency.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import write_result
from hibernation_policies import FILES, FIXED_S, LIMITS, OFF_W, PARK_W, WAKE_W, figures, levels_for
from overwinter.serving.sleep import open_policy
from overwinter.serving.sleep.requests import Seconds, read_arrivals
from overwinter.serving.sleep.simulation import optimum_j, replay, replay_fixed

POLICIES = ("break_even", "learned")
WAKES_S = (1.0, 5.0, 30.0)


def main() -> None:
    """Replay every curve, print a table of each file, write the JSON, and say whether each limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(__file__).parents[2] / "shared" / "data" / "requests"
    parser.add_argument("--requests", type=Path, default=folder, help="folder of the recorded requests")
    parser.add_argument("--seed", type=int, default=0, help="of the spread of counted requests")
    arguments = parser.parse_args()
    curves = []
    for name in FILES:
        arrivals_s = read_arrivals(arguments.requests / f"{name}.csv", seed=arguments.seed)
        curves += [{"file": name, "requests": len(arrivals_s), **curve(arrivals_s, wake_s)} for wake_s in WAKES_S]
    show(curves)
    broken = [point for found in curves for point in found["points"] if not point["kept"]]
    print(f"limits kept: {sum(len(found['points']) for found in curves) - len(broken)}, broken: {len(broken)}")
    content = {"kind": "simulation", "park_w": PARK_W, "off_w": OFF_W, "wake_w": WAKE_W, "seed": arguments.seed}
    path = write_result("hibernation_latency", content | {"curves": curves})
    print(f"wrote results/{path.name}")


def curve(arrivals_s: Seconds, wake_s: float) -> dict[str, Any]:
    """Return joules over the optimum and added latency, for each policy and limit, at one wake time."""
    sleep_levels = levels_for(wake_s)
    least_j = optimum_j(arrivals_s, sleep_levels)
    fixed = {
        f"{timeout_s:g}": figures(replay_fixed(arrivals_s, timeout_s, sleep_levels), least_j) for timeout_s in FIXED_S
    }
    points = []
    for policy in POLICIES:
        for share in LIMITS:
            limit_s = share * wake_s
            outcome = replay(arrivals_s, open_policy(policy, sleep_levels, limit_p95_s=limit_s), sleep_levels)
            found = figures(outcome, least_j)
            kept = found["added_latency_p95_s"] <= limit_s
            points.append({"policy": policy, "limit_p95_s": limit_s, "kept": kept, **found})
    never_j = PARK_W * float(arrivals_s[-1] - arrivals_s[0])
    return {
        "wake_s": wake_s,
        "optimum_j": least_j,
        "never_asleep_ratio": never_j / least_j,
        "points": points,
        "fixed_s": fixed,
    }


def show(curves: list[dict[str, Any]]) -> None:
    """Print each file's curves: joules over the optimum, and the added p95 that they bought."""
    console = Console(width=120)
    for name in FILES:
        table = Table("wake", "limit p95", *POLICIES, "never asleep", "fixed 300 s", title=f"{name} (simulated)")
        for found in (found for found in curves if found["file"] == name):
            for place, share in enumerate(LIMITS):
                points = [found["points"][place + number * len(LIMITS)] for number in range(len(POLICIES))]
                cells = [cell(point) for point in points]
                limit = f"{share * found['wake_s']:g} s"
                never = f"{found['never_asleep_ratio']:.4f}"
                table.add_row(f"{found['wake_s']:g} s", limit, *cells, never, cell(found["fixed_s"]["300"]))
        console.print(table)


def cell(point: dict[str, Any]) -> str:
    """Return the ratio of joules, and the added latency."""
    return f"{point['ratio']:.4f} at {point['added_latency_p95_s']:.2f} s"


if __name__ == "__main__":
    main()
