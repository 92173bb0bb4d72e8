"""The cases of pipelines/ for other tasks than classification of images: what int8 loses there, and what it costs.

    python benchmarks/cases.py [CASE ...]

Runs each case; what ran before is reused, with its cost to produce. A case whose data are missing is left out, with the
reason. Joules per response without a counter are modelled from CPU time, so that a ratio of them is one of CPU time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import RESULTS, machine, read_evaluation, versions, write_result
from overwinter.config import find_project, load_config
from overwinter.errors import EXIT_USAGE
from overwinter.files import read_json
from overwinter.tasks import Measure, find_headline

PIPELINES = Path(__file__).parents[1] / "pipelines"
CASES = ("tabular", "forecast", "segmentation", "text")
ALLOWED_LOSS = 0.01  # of dense's headline


def main() -> None:
    """Run, print, write; cases that are not named keep their figures."""
    kept = read_json(RESULTS / "cases.json", remedy="")["cases"] if (RESULTS / "cases.json").exists() else {}
    asked = sys.argv[1:] or CASES
    found = {case: {"machine": machine(), "versions": versions(), **figures} for case, figures in measured(asked)}
    result = kept | found
    console = Console()
    console.print(table(result))
    console.print(f"written to {write_result('cases', {'allowed_loss': ALLOWED_LOSS, 'cases': result}).name}")


def measured(cases: tuple[str, ...] | list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each case that runs, and its figures."""
    for case in cases:
        command = [sys.executable, "-m", "overwinter.cli", "-C", str(PIPELINES / case), "run"]
        code = subprocess.run(command, check=False).returncode
        if code == EXIT_USAGE:
            continue  # its message names what is missing and how to get it
        if code != 0:
            sys.exit(code)
        yield case, figures(PIPELINES / case)


def figures(folder: Path) -> dict[str, Any]:
    """Return dense and its best int8 variant at each batch size, and the verdict at the one that decides."""
    config = load_config(find_project(folder))
    headline = find_headline(config.task, trusted=config.trusted_targets)
    metrics, candidates = read_evaluation(folder / "outputs/evaluate")
    return {
        "task": config.task.name,
        "headline": headline.name,
        "higher_is_better": headline.higher_is_better,
        "chosen": metrics.chosen.name,
        "pays": metrics.pays,
        "deciding_batch_size": metrics.batch_size,
        "int8": {size: int8_at(size, headline, candidates) for size in batch_sizes(candidates)},
        "candidates": candidates,
    }


def batch_sizes(candidates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the batch sizes that every candidate was timed at."""
    return list(next(iter(candidates.values()))["at_batch"])


def int8_at(size: str, headline: Measure, candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the int8 variant of the fewest joules with dense at its best, at one batch size."""
    dense = cheapest(size, {name: each for name, each in candidates.items() if name.startswith("dense@")})
    int8 = cheapest(size, {name: each for name, each in candidates.items() if name.startswith("int8")})
    quality = [candidates[name][headline.name] for name in (dense, int8)]
    worse = quality[0] - quality[1] if headline.higher_is_better else quality[1] - quality[0]
    joules = [joules_of(candidates[name], size) for name in (dense, int8)]
    return {
        "dense": dense,
        "int8": int8,
        "quality_dense": quality[0],
        "quality_int8": quality[1],
        "loss_share": worse / abs(quality[0]),
        "joules_per_response_dense": joules[0],
        "joules_per_response_int8": joules[1],
        "joules_ratio": joules[1] / joules[0],
    }


def cheapest(size: str, candidates: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the candidate with the fewest joules per response at a batch size."""
    return min(candidates, key=lambda name: joules_of(candidates[name], size))


def joules_of(candidate: Mapping[str, Any], size: str) -> float:
    """Return the joules per response at a batch size."""
    return float(candidate["at_batch"][size]["energy_per_response_j"])


def table(cases: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the cases as a table, a row for each batch size."""
    shown = Table("case", "headline", "dense", "int8", "loss", "batch", "joules of int8 / dense at its best", "pays")
    for case, figures_of_case in cases.items():
        for size, row in figures_of_case["int8"].items():
            shown.add_row(
                case,
                figures_of_case["headline"],
                f"{row['quality_dense']:.4g}",
                f"{row['quality_int8']:.4g}",
                f"{row['loss_share']:.2%}",
                size,
                f"{row['joules_ratio']:.2f}",
                str(figures_of_case["pays"]),
            )
    return shown


if __name__ == "__main__":
    main()
