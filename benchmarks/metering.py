"""Cost of metering, compared with CodeCarbon and Zeus in the same run, and its agreement with NVML's power.

    python benchmarks/metering.py [--seconds 6] [--rounds 3]

A meter's cost is the CPU time of all threads but the main one, which does the work, plus that of child
processes, over the wall time of the work: differences of wall time drown in noise. The meters take turns, in
one process.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from common import write_result
from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
from overwinter.energy import open_meter

CONFIGS = Path(__file__).parents[1] / "configs"
INTERVAL_S = 0.1
LIMIT_SHARE = 0.005
LIMIT_MEASURE_S = 0.2

Meter = Callable[[], AbstractContextManager[Any]]


def main() -> None:
    """Run all parts, print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of work per turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each meter")
    parser.add_argument("--commands", type=int, default=15, help="commands run bare and under `overwinter measure`")
    parser.add_argument("--gpu-seconds", type=float, default=60.0, help="of the comparison with NVML's power")
    arguments = parser.parse_args()
    costs = sampling_cost(arguments.seconds, arguments.rounds)
    command = command_cost(arguments.commands)
    agreement = gpu_agreement(arguments.gpu_seconds)
    show(costs, command, agreement)
    content = {
        "interval_s": INTERVAL_S,
        "sampling": costs,
        "measure_command": command,
        "gpu_agreement": agreement,
    }
    print(f"wrote {write_result('metering', content)}")


def settings(*sources: str) -> tuple[EnergyConfig, HardwareConfig]:
    """The defaults, with the idle probe off: it is no cost of sampling."""
    energy = EnergyConfig(**yaml.safe_load((CONFIGS / "energy" / "default.yaml").read_text()))
    energy.sample_interval_s, energy.idle_probe_s = INTERVAL_S, 0.0
    energy.sources = list(sources) or energy.sources
    return energy, HardwareConfig(**yaml.safe_load((CONFIGS / "hardware" / "auto.yaml").read_text()))


def meters() -> dict[str, Meter]:
    """The meters to compare; those that are not installed are left out."""
    found: dict[str, Meter] = {
        "none": contextlib.nullcontext,
        "overwinter": lambda: open_meter(*settings()),
        "codecarbon": codecarbon,
    }
    if importlib.util.find_spec("zeus"):
        found["zeus"] = zeus
    return found


@contextlib.contextmanager
def codecarbon() -> Iterator[None]:
    """CodeCarbon at the same rate, offline."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA",
        measure_power_secs=INTERVAL_S,
        tracking_mode="machine",
        output_methods=[],
        allow_multiple_runs=True,
        force_ram_power=0,
        log_level="critical",
    )
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()


@contextlib.contextmanager
def zeus() -> Iterator[None]:
    """Zeus's monitor; it polls power only where a GPU has no energy counter."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor()
    monitor.begin_window("work")
    try:
        yield
    finally:
        monitor.end_window("work")


def sampling_cost(seconds: float, rounds: int) -> dict[str, dict[str, Any]]:
    """Work under each meter in turn; return the meters' shares of CPU time, and what starting them takes."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in meters()}
    for _ in range(rounds):
        for name, meter in meters().items():
            turns[name].append(one_turn(meter, seconds))
    costs = {name: summary(found) for name, found in turns.items()}
    if "zeus" not in costs:
        costs["zeus"] = {"unavailable": "not installed (pip install zeus)"}
    return costs


def one_turn(meter: Meter, seconds: float) -> dict[str, float]:
    """Work under one meter, on the main thread only."""
    begun_s = time.monotonic()
    with meter():
        start_s = time.monotonic() - begun_s
        before_s, wall_s, loops = others_cpu_s(), time.monotonic(), work(seconds)
        cpu_s, wall_s = others_cpu_s() - before_s, time.monotonic() - wall_s
    return {"share": cpu_s / wall_s, "start_s": start_s, "loops_per_s": loops / wall_s}


def others_cpu_s() -> float:
    """CPU seconds of all threads but this one, and of finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() - time.thread_time() + children.ru_utime + children.ru_stime


def work(seconds: float) -> int:
    """Something to do on one thread that lets go of the interpreter now and then, as training does."""
    end_s, loops = time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        sum(i * i for i in range(20_000))
        loops += 1
    return loops


def summary(turns: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over the turns; the first start of a meter, which imports it, stands apart."""
    return {
        "cpu_share": statistics.median(turn["share"] for turn in turns),
        "cpu_share_worst": max(turn["share"] for turn in turns),
        "first_start_s": turns[0]["start_s"],
        "loops_per_s": statistics.median(turn["loops_per_s"] for turn in turns),
        "turns": len(turns),
    }


def command_cost(repeats: int) -> dict[str, Any]:
    """Run `true` bare and under `overwinter measure`, in turn; return what measuring adds."""
    bare = ["true"]
    measured = [sys.executable, "-m", "overwinter.cli", "measure", "--", "true"]
    runs = [(timed(bare), timed(measured)) for _ in range(repeats)]
    added_wall_s = [after[0] - before[0] for before, after in runs]
    added_cpu_s = [after[1] - before[1] for before, after in runs]
    return {
        "added_wall_s_median": statistics.median(added_wall_s),
        "added_wall_s_least": min(added_wall_s),
        "added_cpu_s_median": statistics.median(added_cpu_s),
        "repeats": repeats,
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Return (wall, CPU) seconds of a command."""
    before, begun_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def gpu_agreement(seconds: float) -> dict[str, Any]:
    """Compare a window on the visible GPUs with the integral of their NVML power, and with Zeus."""
    from overwinter.energy.nvml import nvml_status

    available, reason, _ = nvml_status()
    if not available:
        return {"unavailable": reason}
    monitor, load = zeus_monitor(), gpu_load()
    with open_meter(*settings("nvml")) as meter, meter.window("gpu") as window:
        if monitor:
            monitor.begin_window("gpu", sync_execution=False)  # the load waits for the GPU itself
        integral_j = power_integral_j(seconds, load)
        zeus_j = monitor.end_window("gpu", sync_execution=False).total_energy if monitor else None
    ours_j = window.close().energy_j
    return {
        "seconds": seconds,
        "overwinter_j": ours_j,
        "power_integral_j": integral_j,
        "difference_to_integral": ours_j / integral_j - 1,
        "zeus_j": zeus_j,
        "difference_to_zeus": ours_j / zeus_j - 1 if zeus_j else None,
        "sources": sorted({part.source for part in window.close().components}),
    }


def zeus_monitor() -> Any:
    """Zeus's monitor, or None where Zeus is not installed or does not start."""
    if not importlib.util.find_spec("zeus"):
        return None
    try:
        from zeus.monitor import ZeusMonitor

        return ZeusMonitor()
    except Exception as error:  # noqa: BLE001 -- the counter and its integral are to be compared anyway
        print(f"Zeus does not start: {type(error).__name__}: {error}")
        return None


def power_integral_j(seconds: float, load: Callable[[], None]) -> float:
    """Integrate the power of all visible GPUs by the trapezoid rule while ``load`` keeps them busy."""
    import pynvml

    from overwinter.energy.nvml_boards import visible_boards

    pynvml.nvmlInit()
    handles = [board.handle for board in visible_boards().boards if board.handle]

    def power_w() -> float:
        return sum(pynvml.nvmlDeviceGetPowerUsage(handle) for handle in handles) / 1e3

    begun_s = before_s = time.monotonic()
    before_w, total_j = power_w(), 0.0
    while before_s - begun_s < seconds:
        load()
        now_s, now_w = time.monotonic(), power_w()
        total_j += (before_w + now_w) / 2 * (now_s - before_s)
        before_s, before_w = now_s, now_w
    pynvml.nvmlShutdown()
    return total_j


def gpu_load() -> Callable[[], None]:
    """About 50 ms of matrix products, or of nothing where torch has no GPU."""
    import torch

    if not torch.cuda.is_available():
        return lambda: time.sleep(0.05)
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)  # (n, n)

    def multiply() -> None:
        end_s = time.monotonic() + 0.05
        while time.monotonic() < end_s:
            torch.mm(matrix, matrix)
            torch.cuda.synchronize()

    return multiply


def show(costs: dict[str, dict[str, Any]], command: dict[str, Any], agreement: dict[str, Any]) -> None:
    """Print the tables."""
    table = Table(title=f"Sampling at {1 / INTERVAL_S:g} Hz: CPU time of the meter's threads over the work's wall time")
    for heading in ("meter", "share", "worst turn", "first start", "work per second"):
        table.add_column(heading)
    for name, cost in costs.items():
        table.add_row(name, *([cost["unavailable"]] if "unavailable" in cost else cost_cells(cost)))
    console = Console()
    console.print(table)
    console.print(f"limit for overwinter: {LIMIT_SHARE:.2%}")
    console.print(
        f"overwinter measure adds {command['added_wall_s_median']:.3f} s of wall time "
        f"(median of {command['repeats']}, least {command['added_wall_s_least']:.3f} s), "
        f"{command['added_cpu_s_median']:.3f} s of CPU time; limit {LIMIT_MEASURE_S:g} s; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    console.print(f"GPU: {agreement.get('unavailable') or agreement}")


def cost_cells(cost: dict[str, Any]) -> list[str]:
    """One row's figures."""
    return [
        f"{cost['cpu_share']:.3%}",
        f"{cost['cpu_share_worst']:.3%}",
        f"{cost['first_start_s']:.2f} s",
        f"{cost['loops_per_s']:.0f} loops",
    ]


if __name__ == "__main__":
    main()
