"""Joules missing in the ledger after `kill -9` at random moments of real runs.

    python benchmarks/kill.py [--kills 100] [--seed 0]

One project runs `overwinter run` on a powercap tree in a temporary folder, whose counter this program drives with
a power that changes all the time. At a random moment after a stage began, the command and all that it started are
killed; the same run is then taken up again, so that the kills fall into every stage. For each stage that was at
work, the joules that the ledger knows are compared with those that this program, an outside observer of the same
counter, saw between the stage's entry in the ledger and the kill. No real device is touched. Writes
benchmarks/results/kill.json.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from common import write_result
from overwinter.ledger import ExecutionRecord, Ledger

_ALLOWED_S = 1.0
_MAX_S = 8.0  # from a stage's start to the kill: longer than a stage, so that kills fall between stages too
_TICK_S = 0.005
_COMMAND = str(Path(sys.executable).parent / "overwinter")
_RANGE_UJ = 262_143_328_850
_QUICK = ("threads=1", "train.epochs=2", "sparsify.fit.epochs=1", "evaluate.repeats=6", "hibernate.wake_repeats=1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)  # noqa: S311 -- no secret
    with tempfile.TemporaryDirectory() as folder:
        tries = kill_runs(Path(folder), options.kills, chance)
        readable = intact(Path(folder) / "project")
    result = summary(tries) | {"seed": options.seed, "ledger_intact": readable}
    write_result("kill", result)
    print(f"{result['within_1_s']} of {result['killed_stages']} killed stages within 1 s of power")
    print(f"  behind by {result['median_behind_s']:.2f} s in the median, {result['largest_behind_s']:.2f} s at most")
    print(f"  {result['kills']} kills: {result['stages']}; ledger {'intact' if readable else 'BROKEN'}")
    return 0 if result["within_1_s"] == result["killed_stages"] and readable else 1


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill, and its record in the ledger.

    Attributes:
        stage: running stage; None between stages.
        observed_j: joules from the stage's entry in the ledger to the kill, by the counter.
        known_j: joules that the ledger has.
        last_second_j: joules of the second before the kill, by the counter.
        status: status of the execution in the ledger.
    """

    stage: str | None
    observed_j: float = 0.0
    known_j: float | None = 0.0
    last_second_j: float = 0.0
    status: str = ""

    @property
    def behind_s(self) -> float:
        """Difference of the ledger from the truth, in seconds of power."""
        return abs(self.observed_j - (self.known_j or 0.0)) / self.last_second_j

    @property
    def close_enough(self) -> bool:
        """True if it is recorded as killed, with its energy known to within a second of power."""
        return self.status == "killed" and self.behind_s <= _ALLOWED_S


def kill_runs(folder: Path, kills: int, chance: random.Random) -> list[Kill]:
    """Run the pipeline and kill it, repeatedly; a run that ends is followed by one with another seed."""
    counter = DrivenCounter(folder / "powercap", chance)
    project = folder / "project"
    _overwinter(folder, "init", str(project))
    tries: list[Kill] = []
    seed = 0
    while len(tries) < kills:
        killed_s = _killed_after(project, chance.uniform(0.0, _MAX_S), folder / "powercap", seed)
        if killed_s is None:
            seed += 1
            continue
        tries.append(_compared(project, counter, killed_s))
        print(f"{len(tries):4d} {tries[-1].stage or 'between stages'}", file=sys.stderr, flush=True)
    return tries


def _killed_after(project: Path, delay_s: float, powercap: Path, seed: int) -> float | None:
    """Start a run and kill all of it; return when, or None if it ended first."""
    overrides = [*_QUICK, f"seed={seed}", "energy.sources=[rapl]", f"energy.rapl_root={powercap}"]
    command = [_COMMAND, "run", *overrides, "energy.idle_probe_s=0"]
    with (
        (project.parent / "run.log").open("w+") as log,
        subprocess.Popen(command, cwd=project, stdout=log, stderr=log) as run,
    ):
        try:
            _wait_for_a_stage(project, run)
            run.wait(delay_s)
            output = (project.parent / "run.log").read_text()
        except subprocess.TimeoutExpired:
            family = [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]
            killed_s = time.time()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=10)
            return killed_s
    if run.returncode != 0:
        raise RuntimeError(f"the run ended by itself, with {run.returncode}:\n{output}")
    return None


def _wait_for_a_stage(project: Path, run: subprocess.Popen[bytes]) -> None:
    """Wait until a stage is at work, or the run has ended: half of a short run is Python and DVC starting."""
    while run.poll() is None:
        if any(each.status == "running" for each in _executions(project)):
            return
        time.sleep(0.05)


def _executions(project: Path) -> list[ExecutionRecord]:
    path = project / ".overwinter" / "ledger.sqlite"
    if not path.exists():
        return []
    with Ledger.open(path) as ledger:
        return ledger.executions()


def _compared(project: Path, counter: DrivenCounter, killed_s: float) -> Kill:
    with Ledger.open(project / ".overwinter" / "ledger.sqlite") as ledger:
        closed = {each.id for each in ledger.reap()}
    records = [each for each in _executions(project) if each.id in closed]
    if not records:
        return Kill(stage=None)
    (record,) = records
    return Kill(
        stage=record.stage,
        observed_j=counter.seen_j(killed_s) - counter.seen_j(record.started_utc.timestamp()),
        known_j=record.energy_j,
        last_second_j=counter.seen_j(killed_s) - counter.seen_j(killed_s - _ALLOWED_S),
        status=record.status,
    )


def intact(project: Path) -> bool:
    """Return whether SQLite finds nothing wrong with the ledger after all kills."""
    with closing(sqlite3.connect(project / ".overwinter" / "ledger.sqlite")) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def summary(tries: Sequence[Kill]) -> dict[str, Any]:
    """Return what is written down."""
    working = [each for each in tries if each.stage is not None]
    return {
        "kills": len(tries),
        "stages": dict(Counter(each.stage or "between stages" for each in tries)),
        "killed_stages": len(working),
        "within_1_s": sum(each.close_enough for each in working),
        "unknown_energy": sum(each.known_j is None for each in working),
        "median_behind_s": statistics.median(each.behind_s for each in working),
        "largest_behind_s": max(each.behind_s for each in working),
        "tries": [asdict(each) | {"behind_s": each.behind_s} for each in working],
    }


def _overwinter(folder: Path, *words: str) -> None:
    subprocess.run([_COMMAND, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


class DrivenCounter:
    """A powercap zone whose power changes all the time, and the memory of what it showed when."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        zone = root / "intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{_RANGE_UJ}\n")
        self._chance = chance
        self._shown = os.open(zone / "energy_uj", os.O_CREAT | os.O_WRONLY)
        self.times_s: list[float] = []
        self.energies_j: list[float] = []
        self._show(0.0)
        threading.Thread(target=self._drive, daemon=True).start()

    def seen_j(self, time_s: float) -> float:
        """Return the joules since the beginning that the counter showed at a time of the wall clock."""
        place = max(0, bisect.bisect_right(self.times_s, time_s) - 1)
        return self.energies_j[place]

    def _drive(self) -> None:
        energy_j, power_w, changes_s = 0.0, 50.0, 0.0
        before_s = time.monotonic()
        while True:
            time.sleep(_TICK_S)
            now_s = time.monotonic()
            energy_j += power_w * (now_s - before_s)
            before_s = now_s
            if now_s > changes_s:
                power_w, changes_s = self._chance.uniform(10.0, 200.0), now_s + self._chance.uniform(0.05, 1.0)
            self._show(energy_j)

    def _show(self, energy_j: float) -> None:
        os.pwrite(self._shown, f"{round(energy_j * 1e6) % _RANGE_UJ:012d}\n".encode(), 0)
        self.times_s.append(time.time())
        self.energies_j.append(energy_j)


if __name__ == "__main__":
    sys.exit(main())
