"""Put the figures in benchmarks/results/ into the README, between its markers; a test holds them against each other.

python benchmarks/readme.py
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from overwinter.files import write_text
from overwinter.report import StageSummary, render_summary

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def result(name: str) -> dict[str, Any]:
    """Read a result file."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def closing_table() -> str:
    """Draw the default case's closing table."""
    rows = [StageSummary(**row) for row in result("overhead")["table"]]
    console = Console(file=io.StringIO(), record=True, width=110)
    console.print(render_summary(rows))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "```\n" + "\n".join(line for line in lines if line) + "\n```\n"


def figures() -> str:
    """Draw the table of figures: what, how much, what was asked for."""
    rows = ["| what | measured | asked for |", "|---|---|---|"]
    rows += [f"| {what} | {value} | {asked} |" for what, value, asked in _rows()]
    return "\n".join(rows) + "\n"


def _rows() -> Iterator[tuple[str, str, str]]:
    yield from _pipeline_rows()
    yield from _fashion_rows()
    for name, row in result("startup")["commands"].items():
        yield f"{name}", f"{row['median_s']:.2f} s", f"{row['limit_s']:g} s"
    metering = result("metering")
    ours, theirs = (metering["sampling"][name]["cpu_share"] for name in ("overwinter", "codecarbon"))
    yield "metering at 10 Hz, CPU time over wall time", f"{ours:.2%} (CodeCarbon {theirs:.2%})", "0.5 %"
    added_s = metering["measure_command"]["added_wall_s_median"]
    yield "`overwinter measure` adds", f"{added_s:.2f} s", "0.2 s"


def _pipeline_rows() -> Iterator[tuple[str, str, str]]:
    overhead = result("overhead")
    seconds, case = overhead["medians"], overhead["case"]
    yield "default case, clean workspace", f"{seconds['pipeline_s']:.0f} s", "90 s"
    yield "of that above one bare process", f"{seconds['above_bare_s']:.0f} s", "20 s"
    yield "test accuracy, dense", f"{case['accuracy_dense']:.2%}", "97.5 %"
    lost = 100 * (case["accuracy_dense"] - case["accuracy_chosen"])
    yield "points lost by both compressions", f"{lost:.2f}", "1"
    yield "times smaller on disk", f"{case['times_smaller']:.1f}", "4"
    for size, cpu in case["batch"].items():
        ratio = cpu["chosen_cpu_s_per_answer"] / cpu["dense_best_cpu_s_per_answer"]
        yield f"CPU time per answer over dense at its best runtime, batch {size}", f"{ratio:.2f}", "below 1"


def _fashion_rows() -> Iterator[tuple[str, str, str]]:
    case = result("fashion")
    yield "Fashion-MNIST: test accuracy, dense", f"{case['accuracy_dense']:.2%}", "91 %"
    lost = 100 * (case["accuracy_dense"] - case["accuracy_chosen"])
    yield "Fashion-MNIST: points lost by both compressions", f"{lost:.2f}", "1"
    train_s = next(row["duration_s"] for row in case["stages"] if row["stage"] == "train")
    yield "Fashion-MNIST: training on two shared cores", f"{train_s / 60:.1f} min", "about 10 min"


def filled(text: str) -> str:
    """Return the README with both blocks drawn anew."""
    for marker, block in (("table", closing_table()), ("figures", figures())):
        between = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
        text = re.sub(between, lambda found, block=block: found[1] + block + found[2], text, flags=re.DOTALL)
    return text


def main() -> None:
    """Write the README."""
    readme = ROOT / "README.md"
    write_text(readme, filled(readme.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
