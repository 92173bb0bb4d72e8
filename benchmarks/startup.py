"""Startup times of commands: a no-op repro, a gate, composing, importing, and `--help`.

    python benchmarks/startup.py [--repeats 9]

Whole processes in a project that is up to date, in turn; medians, with the extremes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common import write_result

BIN = Path(sys.executable).parent
QUICK = ("train.epochs=1", "sparsify.fit.epochs=1", "evaluate.repeats=3", "evaluate.max_quality_loss=0.9")
COMMANDS = {
    "dvc repro, nothing to do": ([str(BIN / "dvc"), "repro"], 1.5),
    "gate": ([sys.executable, "stages/gate.py", "train"], 0.4),
    "overwinter compose": ([str(BIN / "overwinter"), "compose", *QUICK], 0.8),
    "import overwinter": ([sys.executable, "-c", "import overwinter; overwinter.watch"], 0.4),
    "overwinter --help": ([str(BIN / "overwinter"), "--help"], 0.25),
}


def timed_s(command: list[str], cwd: Path) -> float:
    """Run a command to its end and return its seconds."""
    started_s = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - started_s


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    overwinter = str(BIN / "overwinter")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        subprocess.run([overwinter, "init", str(project)], check=True, capture_output=True)
        subprocess.run([overwinter, "run", *QUICK], cwd=project, check=True, capture_output=True)
        turns = [{name: timed_s(command, project) for name, (command, _) in COMMANDS.items()} for _ in range(repeats)]
    table = Table("what", "median", "least", "most", "limit")
    rows = {}
    for name, (_, limit_s) in COMMANDS.items():
        seconds = [turn[name] for turn in turns]
        rows[name] = {
            "median_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "limit_s": limit_s,
        }
        table.add_row(name, *(f"{rows[name][key]:.2f} s" for key in ("median_s", "min_s", "max_s", "limit_s")))
    console = Console()
    console.print(table)
    console.print(f"written to {write_result('startup', {'repeats': repeats, 'commands': rows}).name}")


if __name__ == "__main__":
    main()
