"""The realistic case's figures: accuracy, what both compressions lose, how long training took, an output's cost.

    python benchmarks/fashion.py

Runs pipelines/fashion; what ran before is reused, with its cost to produce. Skips where the images are missing. An
answer's cost is in CPU-seconds, as multiples of fp32 in eager torch and of dense at its best, per batch size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from common import read_evaluation, write_result
from overwinter.errors import EXIT_USAGE

CASE = Path(__file__).parents[1] / "pipelines" / "fashion"
EAGER = "dense@torch"
ASKED = {"1": 0.3}  # of the chosen variant's CPU-seconds per response to those of fp32 in eager torch, by batch size


def main() -> None:
    """Run, print, write."""
    command = [sys.executable, "-m", "overwinter.cli", "-C", str(CASE), "run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == EXIT_USAGE:
        sys.exit(0)  # its message names the missing files and how to get them
    done.check_returncode()
    metrics, candidates = read_evaluation(CASE / "outputs/evaluate")
    comparison = {name: entry["at_batch"] for name, entry in candidates.items()}
    result = {
        "stages": json.loads(done.stdout)["stages"],
        "accuracy_dense": metrics.dense.quality,
        "accuracy_chosen": metrics.chosen.quality,
        "chosen": metrics.chosen.name,
        "times_smaller": metrics.size_ratio,
        "cost": {size: cost(comparison, metrics.chosen.name, size) for size in comparison[EAGER]},
        "comparison": comparison,
    }
    console = Console()
    console.print_json(data={key: value for key, value in result.items() if key != "comparison"})
    console.print(f"written to {write_result('fashion', result).name}")


def cost(comparison: dict[str, Any], chosen: str, size: str) -> dict[str, Any]:
    """Return the cost per output of the chosen variant at one batch size, compared with dense."""
    cpu_s = {name: sizes[size]["cpu_s_per_response"] for name, sizes in comparison.items() if size in sizes}
    best = min((name for name in cpu_s if name.startswith("dense@")), key=cpu_s.__getitem__)
    ratio = cpu_s[chosen] / cpu_s[EAGER]
    return {
        "cpu_s_per_response": cpu_s[chosen],
        "ratio_to_eager": ratio,
        "asked_ratio_to_eager": ASKED.get(size),
        "reached": ratio <= ASKED[size] if size in ASKED else None,
        "dense_at_its_best": best,
        "ratio_to_dense_at_its_best": cpu_s[chosen] / cpu_s[best],
    }


if __name__ == "__main__":
    main()
