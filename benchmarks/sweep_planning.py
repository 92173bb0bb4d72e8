"""Planning a sweep of 1,000 points: time and memory of the whole command, and points equal to Hydra's own bytes.

    python benchmarks/sweep_planning.py [--repeats 3] [--compared 200]

`overwinter plan -m` on a new project whose ledger has 2,000 executions, prefix keys and forecasts included: seconds by
the clock, seconds of CPU, peak memory of the process. Then points spread over the sweep are compared with a composition
of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import write_result
from overwinter.config import Project, compose, find_project, validate
from overwinter.config.composing_many import Composer
from overwinter.ledger import ExecutionRecord
from overwinter.ledger.execution import insert
from overwinter.ledger.schema import migrate, to_row
from overwinter.pipeline.identity import declared_work, likeness
from overwinter.sweep.expanding import expand

OVERWINTER = Path(sys.executable).parent / "overwinter"
SWEEP = (
    "train.epochs=2,4,8,12,16",
    "sparsify.amount=0.1,0.3,0.5,0.7,0.9",
    "quantize=none,int8_dynamic,int8_static,int8_smooth,int8_weight_only",
    "evaluate.repeats=8,10,12,14",
    "seed=0,1",
)
EXECUTIONS = 2000
LIMITS = {"wall_s": 60.0, "peak_mb": 1000.0}


def fill_ledger(project: Project) -> None:
    """Write a history: every stage of the default configuration many times, with scattered costs."""
    config = validate(compose(project))
    stages = list(config.pipeline.stages)
    nothing = dict.fromkeys(ExecutionRecord.__dataclass_fields__)
    rows = []
    for number in range(EXECUTIONS):
        stage = stages[number % len(stages)]
        about: dict[str, Any] = {"id": str(number), "stage": stage, "run_id": f"run-{number // len(stages)}"}
        about |= {"configuration_key": f"{stage}-{number % 50}", "workload": likeness(config, stage)}
        about |= {"work": declared_work(config, stage), "prefix_key": f"{stage}-{number}", "status": "done"}
        about |= {"started_utc": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number), "inputs": {}}
        about |= {"pid": 1, "process_start": 1, "boot_id": "b", "pid_namespace": "n", "host": os.uname().nodename}
        about |= {"energy_j": 10.0 + number % 7, "duration_s": 2.0, "heartbeats": 1, "resumed_j": 0.0}
        about |= {"resumed_carbon_g": 0.0, "resumed_duration_s": 0.0, "artifact_digest": "a"}
        rows.append(to_row(asdict(ExecutionRecord(**{**nothing, **about}))))
    path = project.state / "ledger.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection)
    insert(connection, rows)
    connection.close()


def planned(project: Project) -> tuple[dict[str, Any], dict[str, float]]:
    """Run the command once; return the plan that it printed, and what it took."""
    with tempfile.TemporaryFile() as printed:
        started_s = time.perf_counter()
        process = subprocess.Popen([OVERWINTER, "plan", "-m", "--json", *SWEEP], cwd=project.root, stdout=printed)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took = {"wall_s": time.perf_counter() - started_s, "cpu_s": used.ru_utime + used.ru_stime}
        took["peak_mb"] = used.ru_maxrss * 1024 / 1e6
        if process.returncode != 0:
            raise SystemExit("overwinter plan -m failed")
        printed.seek(0)
        return json.load(printed), took


def equal_points(project: Project, compared: int) -> int:
    """Return how many of ``compared`` points, spread over the sweep, equal a composition of their own."""
    jobs = expand(project, SWEEP).jobs
    composer = Composer(project)
    chosen = [jobs[place * len(jobs) // compared] for place in range(compared)]
    return sum(composer.compose(job).params == compose(project, job) for job in chosen)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compared", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        subprocess.run([OVERWINTER, "init", str(root)], check=True, capture_output=True)
        project = find_project(root)
        fill_ledger(project)
        runs = [planned(project) for _ in range(arguments.repeats)]
        equal = equal_points(project, arguments.compared)
    plan = runs[0][0]
    figures = {name: statistics.median(took[name] for _, took in runs) for name in ("wall_s", "cpu_s", "peak_mb")}
    stages = {stage["name"]: stage["distinct"] for stage in plan["stages"]}
    table = Table("what", "value", "limit")
    table.add_row("points", str(plan["points"]), "")
    table.add_row("distinct stages", ", ".join(f"{count} {name}" for name, count in stages.items()), "")
    for name, value in figures.items():
        table.add_row(name, f"{value:.1f}", f"{LIMITS[name]:g}" if name in LIMITS else "")
    table.add_row("equal to Hydra's bytes", f"{equal} of {arguments.compared}", "all")
    Console().print(table)
    write_result(
        "sweep_planning",
        {
            "points": plan["points"],
            "distinct_stages": stages,
            "ledger_executions": EXECUTIONS,
            "repeats": arguments.repeats,
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "runs": [took for _, took in runs],
            "median": figures,
            "limits": LIMITS,
            "compared": arguments.compared,
            "equal": equal,
        },
    )


if __name__ == "__main__":
    main()
