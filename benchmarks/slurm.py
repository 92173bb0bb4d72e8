"""Sweeps on a real Slurm with one node of two processors, started for it: what is counted is the ledger's executions.

    python benchmarks/slurm.py [--parts submission sharing kills timeout]

`submission` submits 1,000 points of the default case while the node takes no jobs, and stops when all are in the queue.
The other parts run stages that only sleep, in steps with a checkpoint: what they show is which jobs Slurm is given, not
how long work takes. `sharing` runs 12 points: 2 trainings x 3 sparsities x 2 quantizations, 2 + 6 + 12 distinct stages.
`kills` runs as many, whose trainings are longer than their time limit: at random moments a job that runs is cancelled,
or the node goes down for a few seconds, and the same command goes on until all is done. `timeout` runs a training of
three minutes under a time limit of two. Writes benchmarks/results/slurm.json; needs Debian's slurmctld, slurmd, munge
and slurm-client, and root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from common import RESULTS, load_module, write_result
from overwinter.errors import EXIT_DONE
from overwinter.ledger import ExecutionRecord, Ledger
from overwinter.ledger.records import DONE

_ROOT = Path(__file__).parents[1]
_BIN = Path(sys.executable).parent
_LIGHT = _ROOT / "tests" / "slurm" / "light_stage.py"
_STAGES = ("train", "sparsify", "quantize")
_ON_SLURM = (
    "hydra/launcher=overwinter_slurm",
    "hydra.launcher.every.cpus=1",
    "hydra.launcher.every.mem_gb=1",
    "hydra.launcher.gates.mem_gb=1",
    "hydra.launcher.poll_s=1",
)
_GRID = ("train.epochs=3,4", "sparsify.amount=0.4,0.5,0.6", "quantize=int8_static,none", "--until", "quantize")
_EXPECTED = {"train": 2, "sparsify": 6, "quantize": 12}
# An epoch is a second of steps. Slurm's signal comes between half a minute and a minute and a half after the start.
_LONG = ("train.epochs=70,71", "hydra.launcher.stages.train.time_min=2", "hydra.launcher.grace_s=30")
_KILLS = 2  # of each kind
_APART_S, _DOWN_S = (20.0, 80.0), (1.0, 5.0)
_MOST_COMMANDS = 8
_SEED = 7
_REQUEUED = re.compile(r"Requeued job (\S+) \((\d+) remaining timeouts\)")  # as submitit logs it
_THOUSAND = (
    "train.learning_rate=0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008,0.009,0.01",
    "sparsify.amount=0.3,0.4,0.5,0.6,0.7",
    "quantize=none,int8_static,int8_dynamic,int8_weight_only,int8_smooth",
    "evaluate.repeats=3,4,5,6",
)
_THOUSAND_JOBS = 2 * (10 + 50 + 250 + 1000)  # each stage and its gate
_PATIENCE_S = 1200.0
PARTS = ("submission", "sharing", "kills", "timeout")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args(arguments)
    support = load_module(_ROOT / "tests" / "support" / "slurm_cluster.py")
    if reason := support.missing():
        raise SystemExit(f"No Slurm can be started here: {reason}")
    path, as_expected = RESULTS / "slurm.json", True
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="slurm-sweep-") as folder, support.cluster() as environment:
            sweep = Sweep(Path(folder) / "project", environment, light=part != "submission")
            found = getattr(sweep, part)() | {"load_average_1_min": round(os.getloadavg()[0], 2)}
        print(json.dumps({part: found}, indent=2), flush=True)
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        others = {each: earlier[each] for each in PARTS if each in earlier}
        write_result("slurm", {"grid": _GRID, **others, part: found})
        as_expected = as_expected and found["as_expected"]
    return 0 if as_expected else 1


class Sweep:
    """A project beside a Slurm, and what is done to its sweeps.

    Args:
        root: The project's folder, which is made.
        environment: What the commands of Slurm need.
        light: Whether its stages only sleep.
    """

    def __init__(self, root: Path, environment: Mapping[str, str], *, light: bool) -> None:
        self.root = root
        variables = {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        self._environment = {**os.environ, **variables, **environment}
        self._do("overwinter", "init", str(root), folder=root.parent)
        for stage in _STAGES if light else ():
            shutil.copy(_LIGHT, root / "stages" / f"{stage}.py")
        self._do("overwinter", "compose")
        self._do("git", "add", "--all")
        self._do("git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "--quiet", "-m", "start")

    def submission(self) -> dict[str, Any]:
        """Submit 1,000 points to a node that takes no jobs, until all of them are in the queue."""
        self._set_node("drain")
        places = self.root / ".overwinter" / "sweeps" / "thousand" / "slurm" / "places.json"
        started_s = time.perf_counter()
        with self._started(*_THOUSAND, "--name", "thousand") as run:
            self._wait_for(lambda: places.exists() and len(json.loads(places.read_text())) == _THOUSAND_JOBS, run)
            wall_s, cpu_s = time.perf_counter() - started_s, _cpu_s(run.pid)
            queued = len(self._do("squeue", "--noheader", "--array").splitlines())
            run.send_signal(signal.SIGINT)
            run.wait(timeout=_PATIENCE_S)
        submissions = len(list((places.parent / "jobs").glob("*_submission.sh")))
        self._do("scancel", "--user=root")
        return {
            "points": 1000,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "jobs": queued,
            "submissions": submissions,
            "as_expected": queued == _THOUSAND_JOBS,
        }

    def sharing(self) -> dict[str, Any]:
        """Run 12 points, and once more, when nothing is left to do."""
        started_s = time.perf_counter()
        self._sweep(*_GRID, "--name", "grid")
        result = self._counted(_EXPECTED) | {"wall_s": time.perf_counter() - started_s}
        self._sweep(*_GRID, "--name", "grid")
        again = sum(self._counted(_EXPECTED)["executions"].values()) - sum(result["executions"].values())
        return result | {"again": again, "as_expected": result["as_expected"] and again == 0}

    def kills(self) -> dict[str, Any]:
        """Run 12 points whose trainings reach their time limit, while jobs are cancelled and the node goes down."""
        words = (*_LONG, *_GRID[1:], "hydra.launcher.stages.train.gpus=0", "--name", "killed")
        started_s = time.perf_counter()
        done = self._disturbed(words, random.Random(_SEED))  # noqa: S311 -- draws moments, no secrets
        logs = (self.root / ".overwinter" / "sweeps" / "killed" / "slurm" / "jobs").glob("*_log.*")
        timeouts = {found for log in logs for found in _REQUEUED.findall(log.read_text(errors="replace"))}
        result = self._counted(_EXPECTED)
        return {**result, **done, "timeouts": len(timeouts), "wall_s": time.perf_counter() - started_s}

    def _disturbed(self, words: Sequence[str], chance: random.Random) -> dict[str, Any]:
        """Run a sweep to its end by the same command, and disturb it after random times."""
        waiting = [self._cancel, self._break_node] * _KILLS
        chance.shuffle(waiting)
        moments: list[dict[str, Any]] = []
        codes: list[int] = []
        started_s = time.perf_counter()
        while codes[-1:] != [EXIT_DONE]:
            if len(codes) == _MOST_COMMANDS:
                raise SystemExit(f"the same command does not end the sweep: {codes}")
            with self._started(*words) as run:
                while waiting and not _ends_within(run, chance.uniform(*_APART_S)):
                    after_s = round(time.perf_counter() - started_s, 1)
                    if jobs := self._jobs_running():
                        moments.append({"after_s": after_s, "running": sorted(jobs.values())})
                        moments[-1] |= waiting.pop()(jobs, chance)
                codes.append(run.wait(timeout=_PATIENCE_S))
        return {"disturbances": moments, "exit_codes": codes}

    def _cancel(self, jobs: Mapping[str, str], chance: random.Random) -> dict[str, Any]:
        """Cancel one of the jobs."""
        job = chance.choice(sorted(jobs))
        self._do("scancel", job)
        return {"kind": "scancel", "job": jobs[job]}

    def _break_node(self, _jobs: Mapping[str, str], chance: random.Random) -> dict[str, Any]:
        """Let the node go down with all its jobs, and come back."""
        self._set_node("down")
        time.sleep(chance.uniform(*_DOWN_S))
        self._set_node("resume", may_fail=True)  # it may be back by itself
        return {"kind": "node down"}

    def _jobs_running(self) -> dict[str, str]:
        """Return id -> program of each job that runs."""
        lines = self._do("squeue", "--noheader", "--array", "--states=running", "--format=%i %j").splitlines()
        return {job: name.removeprefix("overwinter-killed-") for job, name in (line.split() for line in lines)}

    def timeout(self) -> dict[str, Any]:
        """Run a training that is longer than its time limit."""
        limit = ("hydra.launcher.stages.train.time_min=2", "hydra.launcher.grace_s=30")
        self._sweep("train.epochs=180", "seed=0,0", *limit, "--until", "train", "--name", "limited")
        result = self._counted({"train": 1})
        resumed_s = max(each.resumed_duration_s for each in self._executions())
        as_expected = result["as_expected"] and resumed_s > 0
        return result | {"resumed_duration_s": resumed_s, "as_expected": as_expected}

    def _counted(self, expected: Mapping[str, int]) -> dict[str, Any]:
        records = self._executions()
        done = [each for each in records if each.status == DONE]
        counts = Counter(each.stage for each in done)
        twice = sum(count > 1 for count in Counter((each.stage, each.configuration_key) for each in done).values())
        return {
            "executions": dict(counts),
            "executed_twice": twice,
            "other_ends": dict(Counter(each.status for each in records if each.status != DONE)),
            "resumed": sum(each.resumed_j > 0 for each in done),
            "as_expected": dict(counts) == expected and twice == 0,
        }

    def _executions(self) -> list[ExecutionRecord]:
        with Ledger.open(self.root / ".overwinter" / "ledger.sqlite") as ledger:
            ledger.reap()
            return [each for each in ledger.executions() if each.stage in _STAGES]

    def _set_node(self, state: str, *, may_fail: bool = False) -> None:
        node = self._do("sinfo", "--noheader", "--format=%n").strip()
        words = ("scontrol", "update", f"nodename={node}", f"state={state}", "reason=benchmark")
        if may_fail:
            subprocess.run(words, env=self._environment, capture_output=True, check=False)
        else:
            self._do(*words)

    def _started(self, *words: str) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": None}
        command = ["overwinter", "run", "-m", *_ON_SLURM, *words]
        return subprocess.Popen(command, cwd=self.root, env=self._environment, start_new_session=True, **quiet)  # type: ignore[call-overload]

    def _sweep(self, *words: str) -> None:
        self._do("overwinter", "run", "-m", *_ON_SLURM, *words)

    def _wait_for(self, condition: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not condition():
            if run.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"the sweep ended by itself with {run.returncode}, or it takes too long")
            time.sleep(0.1)

    def _do(self, *words: str, folder: Path | None = None) -> str:
        where = folder or self.root
        done = subprocess.run(words, cwd=where, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stdout


def _ends_within(run: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
    return run.returncode is not None


def _cpu_s(pid: int) -> float:
    """Return the processor seconds of a process and of those that it has waited for."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


if __name__ == "__main__":
    sys.exit(main())
