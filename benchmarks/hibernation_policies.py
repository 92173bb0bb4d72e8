"""Joules of the sleep policies over the offline optimum, on recorded requests, and the cost of a latency limit.

    python benchmarks/hibernation_policies.py [--requests ../shared/data/requests] [--seeds 0 1 2]

A simulation: no joule is measured here. A model draws 121.7 W parked and 71.8 W off (an H100 with and without a
CUDA context), waking draws 130 W; every request file is replayed at four wake times. Counted requests are
spread at random over their bins, so several seeds are run; the targets must hold for each. How `learned` does on
requests that its constants were not chosen on is judged in hibernation_judging.py.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import write_result
from hibernation_judging import judge
from overwinter.serving.sleep import SleepLevel, SleepLevels, open_policy
from overwinter.serving.sleep.requests import Seconds, read_arrivals
from overwinter.serving.sleep.simulation import Outcome, best_fixed, optimum_j, replay, replay_fixed

FILES = ("azure_llm_2023_conv", "twitter_ko", "twitter_ups", "aws_elb_request_count")
WAKES_S = (0.2, 1.0, 5.0, 30.0)
PARK_W, OFF_W, WAKE_W = 121.7, 71.8, 130.0
POLICIES = ("break_even", "randomised", "learned")
FIXED_S = (60.0, 300.0, 600.0)
LIMITS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the wake time
CURVE_FILE, CURVE_WAKES_S = "twitter_ups", (1.0, 5.0, 30.0)
TARGETS = {"break_even_worst": 1.17, "learned_mean": 1.03, "learned_over_best_fixed": 1.005}


def main() -> None:
    """Run every seed, print the tables, write the JSON, and say which target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(__file__).parents[2] / "shared" / "data" / "requests"
    parser.add_argument("--requests", type=Path, default=folder, help="folder of the recorded requests")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    traces = [trace for seed in arguments.seeds for trace in traces_of(arguments.requests, seed)]
    summaries = {str(seed): summarize([trace for trace in traces if trace["seed"] == seed]) for seed in arguments.seeds}
    curve = latency_curve(read_arrivals(arguments.requests / f"{CURVE_FILE}.csv", seed=arguments.seeds[0]))
    held_out = judge({name: read_arrivals(arguments.requests / f"{name}.csv", seed=0) for name in FILES}, levels_for)
    show(traces, summaries, curve)
    show_held_out(held_out)
    content = {
        "kind": "simulation",
        "park_w": PARK_W,
        "off_w": OFF_W,
        "wake_w": WAKE_W,
        "targets": TARGETS,
        "met": {seed: meets(summary) for seed, summary in summaries.items()},
        "summary_by_seed": summaries,
        "traces": traces,
        "latency_curve": curve,
        "held_out": held_out,
    }
    path = write_result("hibernation_policies", content)
    print(f"wrote results/{path.name}")


def levels_for(wake_s: float) -> SleepLevels:
    """Return the two levels at one wake time."""
    off = SleepLevel(name="off", power_w=OFF_W, wake_s=wake_s, wake_j=wake_s * WAKE_W)
    return SleepLevels([SleepLevel(name="parked", power_w=PARK_W), off])


def traces_of(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Replay the sixteen traces of one seed."""
    found = []
    for name in FILES:
        arrivals_s = read_arrivals(folder / f"{name}.csv", seed=seed)
        found += [{"seed": seed, "file": name, **trace(arrivals_s, wake_s, seed)} for wake_s in WAKES_S]
    return found


def trace(arrivals_s: Seconds, wake_s: float, seed: int) -> dict[str, Any]:
    """Replay all policies and fixed time-outs on one trace."""
    sleep_levels = levels_for(wake_s)
    least_j = optimum_j(arrivals_s, sleep_levels)
    best = best_fixed(arrivals_s, sleep_levels)
    replayed = {name: replay(arrivals_s, open_policy(name, sleep_levels, seed=seed), sleep_levels) for name in POLICIES}
    replayed |= {f"fixed_{timeout_s:g}_s": replay_fixed(arrivals_s, timeout_s, sleep_levels) for timeout_s in FIXED_S}
    return {
        "wake_s": wake_s,
        "requests": len(arrivals_s),
        "break_even_s": sleep_levels.break_even_s,
        "optimum_j": least_j,
        "best_fixed": {"timeout_s": best.timeout_s, "ratio": best.energy_j / least_j},
        "policies": {name: figures(outcome, least_j) for name, outcome in replayed.items()},
        "learned_over_best_fixed": replayed["learned"].energy_j / best.energy_j,
    }


def figures(outcome: Outcome, least_j: float) -> dict[str, float]:
    """Return what is compared."""
    return {
        "ratio": outcome.energy_j / least_j,
        "wakes": outcome.wakes,
        "added_latency_p50_s": outcome.added_latency_percentile_s(50),
        "added_latency_p95_s": outcome.added_latency_percentile_s(95),
    }


def summarize(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and worst ratios over the sixteen traces."""
    ratios = {name: [trace["policies"][name]["ratio"] for trace in traces] for name in traces[0]["policies"]}
    ratios["best_fixed"] = [trace["best_fixed"]["ratio"] for trace in traces]
    return {
        "mean": {name: statistics.fmean(found) for name, found in ratios.items()},
        "worst": {name: max(found) for name, found in ratios.items()},
        "learned_over_best_fixed_worst": max(trace["learned_over_best_fixed"] for trace in traces),
    }


def meets(summary: dict[str, Any]) -> dict[str, bool]:
    """Return which targets a seed meets."""
    return {
        "break_even_worst": summary["worst"]["break_even"] <= TARGETS["break_even_worst"],
        "learned_mean": summary["mean"]["learned"] <= TARGETS["learned_mean"],
        "learned_over_best_fixed": summary["learned_over_best_fixed_worst"] <= TARGETS["learned_over_best_fixed"],
    }


def latency_curve(arrivals_s: Seconds) -> list[dict[str, Any]]:
    """Replay the learned policy under latency limits from none at all to never late."""
    points = []
    for wake_s in CURVE_WAKES_S:
        sleep_levels = levels_for(wake_s)
        least_j = optimum_j(arrivals_s, sleep_levels)
        stay_j = PARK_W * float(arrivals_s[-1] - arrivals_s[0])
        for share in LIMITS:
            policy = open_policy("learned", sleep_levels, limit_p95_s=share * wake_s)
            outcome = replay(arrivals_s, policy, sleep_levels)
            point = {"file": CURVE_FILE, "wake_s": wake_s, "limit_p95_s": share * wake_s}
            points.append(point | {"never_asleep_ratio": stay_j / least_j} | figures(outcome, least_j))
    return points


def show(traces: list[dict[str, Any]], summaries: dict[str, Any], curve: list[dict[str, Any]]) -> None:
    """Print the first seed's traces, every seed's summary, and the curve."""
    console = Console(width=120)
    columns = [*POLICIES, "fixed_300_s"]
    table = Table(
        "file", "wake", *columns, "best fixed", "learned / best fixed", title="joules over the optimum (simulated)"
    )
    for row in (row for row in traces if row["seed"] == traces[0]["seed"]):
        ratios = [row["policies"][name]["ratio"] for name in columns]
        ratios += [row["best_fixed"]["ratio"], row["learned_over_best_fixed"]]
        table.add_row(row["file"], f"{row['wake_s']:g} s", *(f"{ratio:.4f}" for ratio in ratios))
    console.print(table)
    for seed, summary in summaries.items():
        mean, worst = summary["mean"], summary["worst"]
        excess = 100 * (summary["learned_over_best_fixed_worst"] - 1)
        console.print(
            f"seed {seed}: break_even mean {mean['break_even']:.4f}, worst {worst['break_even']:.4f}; "
            f"learned mean {mean['learned']:.4f}, worst {worst['learned']:.4f}, at most "
            f"{excess:+.2f} % against the best fixed; met: {meets(summary)}"
        )
    table = Table(
        "wake", "limit p95", "added p95", "joules", "never asleep", title=f"{CURVE_FILE}, learned, under a limit"
    )
    for point in curve:
        table.add_row(
            f"{point['wake_s']:g} s",
            f"{point['limit_p95_s']:g} s",
            f"{point['added_latency_p95_s']:.2f} s",
            f"{point['ratio']:.4f}",
            f"{point['never_asleep_ratio']:.4f}",
        )
    console.print(table)


def show_held_out(held_out: dict[str, Any]) -> None:
    """Print the worst of the recorded traces and of every family, with what chance alone would have given."""
    wakes = list(held_out["recorded_worst"])
    table = Table(
        "held out", "traces", *(f"{wake} s" for wake in wakes), title="learned / best fixed, worst (simulated)"
    )
    recorded = (f"{ratio:.4f}" for ratio in held_out["recorded_worst"].values())
    table.add_row("recorded", str(len(held_out["recorded"])), *recorded)
    for name, family in held_out["families"].items():
        ratios = zip(family["worst"].values(), family["knowing_the_law_worst"].values(), strict=True)
        table.add_row(name, str(family["traces"]), *(f"{worst:.3f} ({knowing:.3f})" for worst, knowing in ratios))
    console = Console(width=120)
    console.print(table)
    console.print(
        f"in brackets: knowing the law. At most {held_out['limit']} of the best fixed on recorded traces left out: "
        f"{held_out['met']}; constants {held_out['constants']}, as shipped: {held_out['as_shipped']}"
    )


if __name__ == "__main__":
    main()
