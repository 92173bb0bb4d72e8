"""Overhead of the pipeline: `overwinter run` compared with one bare process that does the same work.

    python benchmarks/overhead.py [--rounds 2]

Both do the default case from a clean workspace: the pipeline as eleven programs under DVC, with metering, gates,
ledger and atomic outputs; the bare process calls the very same stage functions one after the other, with none of it.
They take turns. The default case's own figures (accuracy, size, CPU time per response) are read from the last run.
"""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import read_evaluation, write_result
from overwinter.records import to_json

PIPELINE = ("train", "sparsify", "quantize", "evaluate", "hibernate")
LIMITS_S = {"pipeline": 90.0, "above_bare": 20.0}


class BareStage:
    """Minimal stage for a stage function: paths and a meter, without progress."""

    def __init__(self, name: str, config: Any, root: Path) -> None:
        from overwinter.config.groups import EnergyConfig, HardwareConfig
        from overwinter.energy import open_meter

        self.name, self.config, self.root = name, config, root
        self.checkpoints = None
        self.meter = open_meter(EnergyConfig(**vars(config.energy)), HardwareConfig(**vars(config.hardware)))

    def input(self, stage: str, out: str = "model") -> Path:
        """Return what an earlier stage left."""
        return self.root / stage / out

    def variants(self) -> dict[str, Path]:
        """Return every model that an earlier stage left."""
        from overwinter.models import find_variants

        stages = self.config.pipeline.stages
        needs = [need for need in stages[self.name].needs if "model" in stages[need].outs]
        return find_variants({need: self.input(need) for need in needs})

    def variant(self, name: str) -> Path:
        """Return one of them."""
        return self.variants()[name]

    def out(self, name: str = "model") -> Path:
        """Return where to write an output."""
        path = self.root / self.name / name
        (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
        return path

    def save_metrics(self, metrics: Any) -> None:
        """Write metrics.json."""
        self.out("metrics.json").write_text(json.dumps(metrics if isinstance(metrics, dict) else to_json(metrics)))

    def lineage(self) -> dict[str, Any]:
        """Return an empty lineage."""
        return {}

    def progress(self, *_: float, **__: float) -> None:
        """Ignore progress."""

    unsaved_progress = progress

    def quiet_device(self) -> nullcontext[None]:
        """Wait for no one: this process is alone."""
        return nullcontext()

    def log(self, text: str) -> None:
        """Print a line."""
        print(text)


def bare(project: Path) -> None:
    """Do the default case's work in this process."""
    from overwinter.config import find_project, load_config

    config = load_config(find_project(project))
    with tempfile.TemporaryDirectory() as folder:
        for name in PIPELINE:
            main = runpy.run_path(str(project / "stages" / f"{name}.py"))["main"]
            stage = BareStage(name, config, Path(folder))
            with stage.meter if name == "evaluate" else nullcontext():
                main(stage)


def timed(command: list[str], cwd: Path) -> tuple[float, str]:
    """Run a command to its end; return its seconds, and what it printed."""
    started_s = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return time.perf_counter() - started_s, done.stdout


def one_round(project: Path) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Time the pipeline from a clean workspace, then the bare process; return the seconds, and the closing table."""
    for leftover in ("outputs", "dvc.lock", ".overwinter", ".dvc/cache", ".dvc/tmp"):
        path = project / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    pipeline_s, table = timed([sys.executable, "-m", "overwinter.cli", "run", "--json"], project)
    bare_s, _ = timed([sys.executable, str(Path(__file__).resolve()), "--bare", str(project)], project)
    seconds = {"pipeline_s": pipeline_s, "bare_s": bare_s, "above_bare_s": pipeline_s - bare_s}
    return seconds | parts(project), json.loads(table)["stages"]


def parts(project: Path) -> dict[str, float]:
    """Return the run's seconds in stages, in gates and check, and between programs, from its events."""
    events_file = max((project / ".overwinter" / "runs").glob("*.events"))
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
    began = {event["stage"]: event["time_s"] for event in events if event["event"] == "start"}
    took = {event["stage"]: event["time_s"] - began[event["stage"]] for event in events if event["event"] == "end"}
    stages_s = sum(seconds for name, seconds in took.items() if name in PIPELINE)
    whole_s = max(event["time_s"] for event in events) - min(began.values())
    return {
        "in_stages_s": stages_s,
        "in_gates_and_check_s": sum(took.values()) - stages_s,
        "between_programs_s": whole_s - sum(took.values()),
    }


def figures(project: Path) -> dict[str, Any]:
    """Read the default case's own figures."""
    metrics, comparison = read_evaluation(project / "outputs/evaluate")
    every = {name: entry["at_batch"] for name, entry in comparison.items()}
    dense = {name: entry for name, entry in every.items() if name.startswith("dense@")}
    chosen = every[metrics.chosen.name]
    cpu = {
        size: {
            "chosen_cpu_s_per_response": chosen[size]["cpu_s_per_response"],
            "dense_best_cpu_s_per_response": min(entry[size]["cpu_s_per_response"] for entry in dense.values()),
        }
        for size in chosen
    }
    return {
        "chosen": metrics.chosen.name,
        "accuracy_dense": metrics.dense.quality,
        "accuracy_chosen": metrics.chosen.quality,
        "times_smaller": metrics.size_ratio,
        "batch": cpu,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare(arguments.bare)
        return
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        subprocess.run([sys.executable, "-m", "overwinter.cli", "init", str(project)], check=True, capture_output=True)
        rounds, tables = zip(*(one_round(project) for _ in range(arguments.rounds)), strict=True)
        case = figures(project)
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    table = Table("default case", "median", "limit")
    for name, seconds in medians.items():
        limit = LIMITS_S.get(name.removesuffix("_s"))
        table.add_row(name, f"{seconds:.1f} s", f"{limit:g} s" if limit else "")
    result = {"rounds": rounds, "medians": medians, "case": case, "table": tables[-1]}
    console = Console()
    console.print(table)
    console.print_json(data=case)
    console.print(f"written to {write_result('overhead', result).name}")


if __name__ == "__main__":
    main()
