"""The realistic case's figures: accuracy, what both compressions lose, and how long training took.

    python benchmarks/fashion.py

Runs pipelines/fashion; what ran before is reused, with its cost to produce. Skips where the images are missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from common import write_result
from overwinter.errors import EXIT_USAGE

CASE = Path(__file__).parents[1] / "pipelines" / "fashion"


def main() -> None:
    """Run, print, write."""
    command = [sys.executable, "-m", "overwinter.cli", "-C", str(CASE), "run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == EXIT_USAGE:
        sys.exit(0)  # it has said which files are missing, and how to get them
    done.check_returncode()
    metrics = json.loads((CASE / "outputs/evaluate/metrics.json").read_text())
    comparison = json.loads((CASE / "outputs/evaluate/comparison.json").read_text())
    result = {
        "stages": json.loads(done.stdout)["stages"],
        "accuracy_dense": metrics["dense"]["accuracy"],
        "accuracy_chosen": metrics["chosen"]["accuracy"],
        "chosen": metrics["chosen"]["name"],
        "times_smaller": metrics["size_ratio"],
        "comparison": comparison,
    }
    console = Console()
    console.print_json(data={key: value for key, value in result.items() if key != "comparison"})
    console.print(f"written to {write_result('fashion', result).name}")


if __name__ == "__main__":
    main()
