"""The overhead of `overwinter.watch` on a loop of 1 ms steps.

    python benchmarks/watch.py [--steps 20000] [--repeats 5]

CPU time is counted, not wall time, so that a busy machine does not disturb it: of the loop's thread with `run.steps`
and without it, in turn, and of the meter's threads while the loop sleeps. Opening and closing a watch stands apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.table import Table

import overwinter
from common import write_result

STEP_S = 0.001
STARTS = {
    "import overwinter": "import overwinter",
    "import overwinter, open and close a watch": "import overwinter\nwith overwinter.watch(log=str): pass",
}


def plain(items: Iterable[int]) -> Iterable[int]:
    """Return the items without a watch."""
    return items


def empty_loop_us(steps: Callable[[Iterable[int]], Iterable[int]], count: int) -> float:
    """Return the microseconds of CPU that each step of an empty loop takes in its own thread."""
    began_s = time.thread_time()
    for _ in steps(range(count)):
        pass
    return (time.thread_time() - began_s) / count * 1e6


def background_share(count: int) -> float:
    """Return the CPU time of all other threads, as a share of the time of a loop whose steps sleep."""
    began_s, process_s, own_s = time.monotonic(), time.process_time(), time.thread_time()
    for _ in range(count):
        time.sleep(STEP_S)
    others_s = (time.process_time() - process_s) - (time.thread_time() - own_s)
    return others_s / (time.monotonic() - began_s)


def start_cpu_s(code: str, folder: str) -> float:
    """Return the CPU seconds of a process that runs ``code``, with its children."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {"a step, in the loop's thread": [], "the meter's threads": []}
    starts: dict[str, list[float]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with overwinter.watch(budget="10 MJ", log=str) as run:
            for _ in range(arguments.repeats):
                step_us = empty_loop_us(run.steps, arguments.steps) - empty_loop_us(plain, arguments.steps)
                figures["a step, in the loop's thread"].append(step_us / (STEP_S * 1e6))
                figures["the meter's threads"].append(background_share(arguments.steps // 10))
        for _ in range(arguments.repeats):
            for name, code in STARTS.items():
                starts[name].append(start_cpu_s(code, folder))
    table = Table("share of a 1 ms step", "median", "least", "most")
    for name, shares in figures.items():
        table.add_row(name, *(f"{of(shares):.2%}" for of in (statistics.median, min, max)))
    table.add_section()
    for name, seconds in starts.items():
        table.add_row(f"CPU time: {name}", *(f"{of(seconds):.2f} s" for of in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    content = {"step_s": STEP_S, **vars(arguments), "shares": figures, "starts_cpu_s": starts}
    console.print(f"written to {write_result('watch', content).name}")


if __name__ == "__main__":
    main()
