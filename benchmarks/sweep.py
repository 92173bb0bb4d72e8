"""A sweep of 24 points: what runs, how often, and how long, also with two workers and after kills; beside plain DVC.

    python benchmarks/sweep.py [--parts serial workers kills queue] [--kills 20] [--seed 0] [--quick]

2 trainings x 3 sparsities x 4 quantizations of the default case: 2 + 6 + 24 + 24 distinct executions, counted from the
ledger. `serial` runs them one after the other, then once more, when nothing is left to do; `workers` runs them two at a
time; `kills` ends the sweep and all that it started with SIGKILL at random moments, and starts it again; `queue` is
what DVC offers by itself: `dvc exp run --queue -S ...` and two workers. Each begins with an empty cache. Overhead is
the wall time without the stages' own, per point. `kills` and `queue`, which are there to be counted, measure each
candidate more briefly. Writes benchmarks/results/sweep.json; `--quick` writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from common import RESULTS, machine, write_result
from overwinter.ledger import ExecutionRecord, Filter, Ledger
from overwinter.ledger.records import DONE

_BIN = Path(sys.executable).parent
_GRID = {
    "train.epochs": ("4", "5"),
    "sparsify.amount": ("0.4", "0.5", "0.6"),
    "quantize": ("int8_static", "int8_dynamic", "int8_weight_only", "none"),
}
_SMALL_GRID = {"train.epochs": ("1", "2"), "sparsify.amount": ("0.5",), "quantize": ("int8_static", "none")}
_FIXED = ("sparsify.fit.epochs=2", "evaluate.max_quality_loss=0.99")
_QUICK = ("evaluate.repeats=3", "evaluate.measure_loading=false", "evaluate.sample_duration_s=0.005")
_COUNTED = ("kills", "queue")
_STAGES = ("train", "sparsify", "quantize", "evaluate")
_STARTING_S = 2.0  # no kill comes before: composing the points takes that long
PARTS = ("serial", "workers", "kills", "queue")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="4 points with short stages, to try the program itself")
    options = parser.parse_args(arguments)
    grid = _SMALL_GRID if options.quick else _GRID
    chance = random.Random(options.seed)  # noqa: S311 -- no secret
    result = {} if options.quick else _earlier()
    for part in options.parts:
        fixed = (*_FIXED, *_QUICK) if options.quick or part in _COUNTED else _FIXED
        with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
            project = Sweep(Path(folder) / "project", grid, fixed)
            measured = {
                "serial": project.serial,
                "workers": project.workers,
                "kills": lambda: project.killed(options.kills, chance),  # noqa: B023 -- called at once
                "queue": project.queued,
            }[part]()
        result[part] = {"machine": machine(), "fixed": fixed, **measured}
        print(json.dumps({part: measured}, indent=2), flush=True)
        if not options.quick:
            write_result("sweep", {"grid": grid, **result})
    return 0 if all(result[part].get("as_expected", True) for part in options.parts) else 1


def _earlier() -> dict[str, Any]:
    """Return the parts of the present result, so that they can be measured one by one."""
    path = RESULTS / "sweep.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    return {part: content[part] for part in PARTS if part in content}


class Sweep:
    """A project with an empty cache, and the sweep in it."""

    def __init__(self, root: Path, grid: Mapping[str, Sequence[str]], fixed: Sequence[str]) -> None:
        self.root = root
        self._overrides = [f"{key}={','.join(values)}" for key, values in grid.items()]
        self._fixed = list(fixed)
        trainings, sparsities, quantizations = map(len, grid.values())
        self._points = trainings * sparsities * quantizations
        counts = (trainings, trainings * sparsities, self._points, self._points)
        self._expected = dict(zip(_STAGES, counts, strict=True))
        self._environment = {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' Python keeps its compiled modules
        for name in ("meters", "quiet"):  # whatever else runs on this machine is no neighbour of the benchmark's stages
            self._environment[f"OVERWINTER_{name.upper()}"] = str(root.parent / name)
        self._do(root.parent, "overwinter", "init", str(root))
        self._do(root, "git", "add", "--all")
        self._do(root, "git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "--quiet", "-m", "start")

    def serial(self) -> dict[str, Any]:
        """Run the sweep with one worker, and once more."""
        wall_s = self._timed(*self._command())
        first = self.figures(wall_s)
        again_s = self._timed(*self._command())
        more = self.figures(0.0)["done"] - first["done"]
        as_expected = first["as_expected"] and more == 0
        return first | {"again_s": again_s, "again_executions": more, "as_expected": as_expected}

    def workers(self) -> dict[str, Any]:
        """Run the sweep with two workers."""
        return self.figures(self._timed(*self._command(), "--workers", "2"))

    def killed(self, kills: int, chance: random.Random) -> dict[str, Any]:
        """Kill the sweep at random moments, and run it to its end."""
        started_s, moments = time.perf_counter(), []
        longest_s = 24.0
        while len(moments) < kills:
            delay_s = _STARTING_S + chance.uniform(0.0, longest_s)
            stage = self._killed_after(delay_s)
            if stage is None:
                break  # it ended before
            moments.append({"delay_s": delay_s, "stage": stage})
        self._do(self.root, *self._command())
        return {"kills": len(moments), "moments": moments} | self.figures(time.perf_counter() - started_s)

    def queued(self) -> dict[str, Any]:
        """Queue the same points by `dvc exp run --queue`, and run them by two of DVC's own workers."""
        sets = [word for override in [*self._overrides, *self._fixed] for word in ("--set-param", override)]
        started_s = time.perf_counter()
        self._do(self.root, "dvc", "exp", "run", "--queue", *sets, "gate-evaluate")
        queued_s = time.perf_counter() - started_s
        self._do(self.root, "dvc", "queue", "start", "--jobs", "2")
        while any(state in ("Queued", "Running") for state in self._queue()):
            time.sleep(2.0)
        states = dict(Counter(self._queue()))
        return {"queued_s": queued_s, "states": states} | self.figures(time.perf_counter() - started_s, expected=False)

    def figures(self, wall_s: float, *, expected: bool = True) -> dict[str, Any]:
        """Return counts and times of what the ledger knows."""
        records = [each for each in self._executions() if each.stage in _STAGES]
        done = [each for each in records if each.status == DONE]
        keys = Counter((each.stage, each.configuration_key) for each in done)
        stages_s = sum(each.duration_s or 0.0 for each in done)
        counts = Counter(each.stage for each in done)
        twice = sum(count > 1 for count in keys.values())
        result = {
            "wall_s": wall_s,
            "executions": dict(counts),
            "executed_twice": twice,
            "done": len(done),
            "other_ends": dict(Counter(each.status for each in records if each.status != DONE)),
            "stages_s": stages_s,
            "stages_j": sum(each.energy_j or 0.0 for each in done),
            "wall_over_stages": wall_s / stages_s if stages_s else None,
            "overhead_per_point_s": (wall_s - stages_s) / self._points,
        }
        return result | ({"as_expected": dict(counts) == self._expected and not twice} if expected else {})

    def _command(self) -> list[str]:
        return ["overwinter", "run", "-m", *self._overrides, *self._fixed]

    def _executions(self) -> list[ExecutionRecord]:
        path = self.root / ".overwinter" / "ledger.sqlite"
        if not path.exists():
            return []
        with Ledger.open(path) as ledger:
            ledger.reap()
            return ledger.executions(Filter())

    def _queue(self) -> list[str]:
        """Return the state of each task of DVC's queue."""
        lines = self._do(self.root, "dvc", "queue", "status").splitlines()
        known = ("Queued", "Running", "Success", "Failed")
        return [word for line in lines for word in line.split() if word in known]

    def _killed_after(self, delay_s: float) -> str | None:
        """Start the sweep and kill all of it later; return the running stage, or None if the sweep ended first."""
        log = (self.root.parent / "sweep.log").open("wb")
        with (
            log,
            subprocess.Popen(self._command(), cwd=self.root, env=self._environment, stdout=log, stderr=log) as run,
        ):
            try:
                run.wait(delay_s)
            except subprocess.TimeoutExpired:
                running = [each.stage for each in self._executions() if each.status == "running"]
                family = [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]
                for process in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(family, timeout=10)
                return running[0] if running else "between stages"
        if run.returncode != 0:
            raise SystemExit(f"the sweep ended by itself:\n{(self.root.parent / 'sweep.log').read_text()[-3000:]}")
        return None

    def _timed(self, *words: str) -> float:
        started_s = time.perf_counter()
        self._do(self.root, *words)
        return time.perf_counter() - started_s

    def _do(self, folder: Path, *words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stdout


if __name__ == "__main__":
    sys.exit(main())
