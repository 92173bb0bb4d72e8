"""Accuracy of predicted stage costs: epochs 4 to 32 of the default case's training, from runs of 1 and 2 epochs.

    python benchmarks/forecasts.py [--histories 10] [--truths 3]

The stage program is run for real in a project of its own: ten histories of one run of 1 epoch and one of 2, and the
truths in between, so that both meet the same neighbours. Every history foretells every truth; so does its run of 2
epochs alone. The constants of `overwinter.budget.growing` come from reasoning and were not fitted to these runs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import write_result
from overwinter.budget import Forecast, forecast
from overwinter.ledger import ExecutionRecord, Ledger, ledger_path

SHORT, TRUE = (1, 2), (4, 8, 16, 32)
LIMITS = {"median_error": 0.15, "covered": 0.80, "widest_range": 2.5}


def main() -> None:
    """Run, foretell, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10)
    parser.add_argument("--truths", type=int, default=3, help="runs of each number of epochs that is foretold")
    parser.add_argument("--ledger", type=Path, help="evaluate the runs of an earlier call again, from its ledger")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = executions(options.ledger or carried_out(Path(folder), options.histories, options.truths))
    short = [[each for each in records if each.work == epochs] for epochs in SHORT]
    truths = [each for each in records if each.work in TRUE]
    ways = {
        "from 1 and 2 epochs": judged([list(pair) for pair in zip(*short, strict=True)], truths),
        "from 2 epochs alone": judged([[each] for each in short[1]], truths),
        "from 1 epoch alone": judged([[each] for each in short[0]], truths),
    }
    path = write_result(
        "forecasts", {"limits": LIMITS, "histories": len(short[0]), "runs": reported(records), "ways": ways}
    )
    show(ways)
    print(path)
    sys.exit(0 if held(ways["from 1 and 2 epochs"]["all"]) else 1)


def carried_out(root: Path, histories: int, truths: int) -> Path:
    """Run the stage in a project of its own; return its ledger."""
    overwinter = [sys.executable, "-m", "overwinter.cli"]
    subprocess.run([*overwinter, "init", root / "project"], check=True, capture_output=True)
    queue = [epochs for _ in range(truths) for epochs in TRUE]
    share = -(-len(queue) // max(1, histories))
    for history in range(histories):
        for epochs in (*SHORT, *queue[history * share : (history + 1) * share]):
            run_stage(root / "project", epochs)
    return ledger_path(root / "project")


def run_stage(project: Path, epochs: int) -> None:
    """Train for some epochs, as the user tries it."""
    command = [sys.executable, "stages/train.py", f"train.epochs={epochs}"]
    subprocess.run(command, cwd=project, check=True, capture_output=True, env=os.environ | {"PYTHONSAFEPATH": "1"})


def executions(path: Path) -> list[ExecutionRecord]:
    """Read what was spent."""
    with Ledger.open(path) as ledger:
        return [each for each in ledger.executions() if each.stage == "train" and each.status == "done"]


def reported(records: Sequence[ExecutionRecord]) -> list[dict[str, Any]]:
    """Return the runs' figures, in their order."""
    names = ("work", "energy_j", "duration_s", "steps", "steps_j", "steps_s")
    return [{name: getattr(each, name) for name in names} for each in records]


def judged(histories: Sequence[list[ExecutionRecord]], truths: Sequence[ExecutionRecord]) -> dict[str, Any]:
    """Let every history foretell every truth; by the number of epochs, and all together."""
    seen = [(truth, foretold(history, truth)) for history, truth in itertools.product(histories, truths)]
    by_epochs = {f"{epochs} epochs": [each for each in seen if each[0].work == epochs] for epochs in TRUE}
    return {name: figures(some) for name, some in {**by_epochs, "all": seen}.items()}


def foretold(history: list[ExecutionRecord], truth: ExecutionRecord) -> Forecast:
    """Foretell one truth from a history."""
    return forecast(
        history,
        stage=truth.stage,
        configuration_key=truth.configuration_key,
        work=truth.work,
        workload=truth.workload,
        inputs=truth.inputs,
        host=truth.host,
    )


def figures(seen: Sequence[tuple[ExecutionRecord, Forecast]]) -> dict[str, float]:
    """Return errors, the share of truths within the range, and the ranges' widths."""
    ranges = [(truth.energy_j or 0.0, each.energy_j) for truth, each in seen if each.energy_j is not None]
    errors = [abs(range_.expected / truth_j - 1) for truth_j, range_ in ranges]
    widths = [range_.high / range_.low for _, range_ in ranges]
    return {
        "forecasts": len(ranges),
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "bias": statistics.median(range_.expected / truth_j - 1 for truth_j, range_ in ranges),
        "covered": statistics.fmean(range_.low <= truth_j <= range_.high for truth_j, range_ in ranges),
        "median_range": statistics.median(widths),
        "widest_range": max(widths),
    }


def held(found: dict[str, float]) -> bool:
    """Return whether the figures are within their limits."""
    return (
        found["median_error"] <= LIMITS["median_error"]
        and found["covered"] >= LIMITS["covered"]
        and found["widest_range"] <= LIMITS["widest_range"]
    )


def show(ways: dict[str, Any]) -> None:
    """Print a table."""
    table = Table(title="Joules of training, foretold")
    for title in ("", "epochs", "median error", "worst", "within the range", "range, median", "widest"):
        table.add_column(title, justify="left" if title in ("", "epochs") else "right")
    for way, groups in ways.items():
        for group, each in groups.items():
            shares = [f"{each[name]:.1%}" for name in ("median_error", "worst_error", "covered")]
            table.add_row(way, group, *shares, f"{each['median_range']:.2f}", f"{each['widest_range']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
