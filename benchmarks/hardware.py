"""Accuracy of a pipeline's joules and seconds on another machine, forecast from the merged ledger of two machines.

    python benchmarks/hardware.py --keep DIR   # as root: runs every pipeline on both machines; goes on where it stopped
    python benchmarks/hardware.py --keep DIR DIR --judge   # evaluates the ledgers of earlier calls again

Two machines run every pipeline for real, each in projects with caches and ledgers of their own: this one, and this one
under another host name at half its speed: half the weight where others want the cores, too, and half a core at most.
Both run a pipeline at the same time, so that whatever else runs here slows both. Their ledgers are merged, and foretell
on the slow machine every pipeline that, as far as the forecast knows, only the fast one has run. The constants of
`overwinter.budget.transfer` were set on the pipelines of `FITTED`, each foretold from the others. `JUDGED` are foretold
from `FITTED`, among them cases with other models, tasks and data, whose stages have never run on the slow machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import write_result
from overwinter.budget import forecast
from overwinter.budget.transfer import pairs_of, transferred
from overwinter.ledger import ExecutionRecord, ledger_path, merge_ledgers
from overwinter.ledger.merging import read_executions

ROOT = Path(__file__).parents[1]
CGROUP = Path("/sys/fs/cgroup")
FAST, SLOW = "full-speed", "half-speed"
QUOTA = 0.5  # of a core, for the slow machine
SHARES = {FAST: 1024, SLOW: 512}  # of the cores, where others want them, too; 1024 is the usual weight
UNTIL = "quantize"  # evaluate times responses: how long, is a matter of their noise


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One configuration of a case.

    Attributes:
        case: The folder below pipelines/; empty for the default case.
        overrides: What differs from it.
    """

    case: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return a short name."""
        return " ".join([self.case or "digits", *self.overrides])


FITTED = (
    Pipeline(overrides=("train.epochs=3", "sparsify.fit.epochs=2")),
    Pipeline(overrides=("model.channels=[16,32,32,64]", "train.epochs=6", "sparsify.fit.epochs=3")),
    Pipeline(overrides=("train.batch_size=256", "train.epochs=5", "sparsify.fit.epochs=2")),
)
JUDGED = (
    Pipeline(case="forecast", overrides=("train.epochs=6",)),
    Pipeline(overrides=("model.channels=[24,48,48,96]", "train.epochs=4", "sparsify.amount=0.7")),
    Pipeline(case="tabular", overrides=("train.epochs=1",)),
    Pipeline(overrides=("train.batch_size=512", "train.epochs=8", "sparsify=none", "quantize=int8_weight_only")),
)
PIPELINES = (*FITTED, *JUDGED)


def project(folder: Path, machine: str, seed: int) -> Path:
    """Return the project in which a machine runs a pipeline: the repository, or a case in it."""
    root, case = folder / f"{machine}-{seed}", PIPELINES[seed].case
    return root / "pipelines" / case if case else root


def start(folder: Path, machine: str, seed: int, prefix: Sequence[str]) -> subprocess.Popen[str]:
    """Start a pipeline in a clone of its own, with a machine's host name."""
    root, where, pipeline = folder / f"{machine}-{seed}", project(folder, machine, seed), PIPELINES[seed]
    if not root.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    words = [sys.executable, "-m", "overwinter.cli", "-C", str(where), "run", "--until", UNTIL, f"seed={seed}"]
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', machine]
    apart = {name: str(root / ".overwinter" / name.lower()) for name in ("OVERWINTER_METERS", "OVERWINTER_QUIET")}
    return subprocess.Popen(
        [*prefix, *named, *words, *pipeline.overrides],
        env=os.environ | apart | {"PYTHONSAFEPATH": "1", "OVERWINTER_PERSON": "none"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def sharing(machine: str, seed: int) -> Iterator[list[str]]:
    """Yield what starts a command with a machine's share of the cores; needs root."""
    folder = (CGROUP / "cpu" if (CGROUP / "cpu").is_dir() else CGROUP) / f"overwinter-{machine}-{seed}-{os.getpid()}"
    folder.mkdir()
    try:
        period_us, quota_us = 100_000, round(QUOTA * 100_000)
        if (folder / "cpu.weight").exists():
            (folder / "cpu.weight").write_text(str(SHARES[machine] * 100 // 1024))
        else:
            (folder / "cpu.shares").write_text(str(SHARES[machine]))
        if machine == SLOW and (folder / "cpu.max").exists():
            (folder / "cpu.max").write_text(f"{quota_us} {period_us}")
        elif machine == SLOW:
            (folder / "cpu.cfs_period_us").write_text(str(period_us))
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
        yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]
    finally:
        folder.rmdir()


def carried_out(folder: Path, at_once: int) -> None:
    """Run every pipeline on both machines; what an earlier call has run is not repeated.

    Raises:
        SystemExit: a pipeline failed.
    """
    waiting = [seed for seed in range(len(PIPELINES)) if not (folder / f"{seed}.done").exists()]
    with ThreadPoolExecutor(at_once) as pool:
        for seed in pool.map(lambda seed: run_on_both(folder, seed), waiting):
            print(PIPELINES[seed].name, flush=True)


def run_on_both(folder: Path, seed: int) -> int:
    """Run a pipeline on both machines at the same time; return its number, which is its seed, too.

    Raises:
        SystemExit: it failed.
    """
    with sharing(FAST, seed) as fast, sharing(SLOW, seed) as slow:
        prefixes = {FAST: fast, SLOW: slow}
        running = {machine: start(folder, machine, seed, prefix) for machine, prefix in prefixes.items()}
        errors = {machine: process.communicate()[1] for machine, process in running.items()}
    for machine, process in running.items():
        if process.returncode != 0:
            raise SystemExit(f"{machine}: {PIPELINES[seed].name}: {errors[machine][-2000:]}")
    (folder / f"{seed}.done").touch()
    return seed


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pipeline as both machines ran it.

    Attributes:
        name: The pipeline.
        fast: Its executions on the fast machine, one per stage.
        slow: The same on the slow machine.
    """

    name: str
    fast: tuple[ExecutionRecord, ...]
    slow: tuple[ExecutionRecord, ...]


def cases(folder: Path) -> dict[int, Case]:
    """Return the pipelines that both machines have run, by their numbers, from the merged ledger."""
    merged = folder / "all.sqlite"
    seeds = [seed for seed in range(len(PIPELINES)) if (folder / f"{seed}.done").exists()]
    roots = {(machine, seed): project(folder, machine, seed) for machine in (FAST, SLOW) for seed in seeds}
    ids: dict[tuple[str, int], set[str]] = {
        key: {each.id for each in read_executions(ledger_path(root))} for key, root in roots.items()
    }
    merge_ledgers([ledger_path(root) for root in roots.values()], merged)
    done = [record for record in read_executions(merged) if record.status == "done"]

    def of(machine: str, seed: int) -> tuple[ExecutionRecord, ...]:
        return tuple(each for each in done if each.id in ids[machine, seed] and each.host == machine)

    return {seed: Case(name=PIPELINES[seed].name, fast=of(FAST, seed), slow=of(SLOW, seed)) for seed in seeds}


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """A pipeline's cost on the slow machine, foretold and spent.

    Attributes:
        name: The pipeline.
        figure: `energy_j` or `duration_s`.
        expected: The forecast.
        low: Its lower end.
        high: Its upper end.
        spent: What was spent.
        there: What the fast machine spent.
    """

    name: str
    figure: str
    expected: float
    low: float
    high: float
    spent: float
    there: float


def foretold(case: Case, known: Sequence[Case], figure: str) -> Foretold:
    """Foretell a pipeline on the slow machine from its cost on the fast one, and from pipelines that both have run."""
    pairs = pairs_of([each for one in known for each in one.fast], [each for one in known for each in one.slow])
    ranges = []
    for record in case.fast:
        here = forecast([record], stage=record.stage, configuration_key=record.configuration_key, host=FAST)
        range_ = getattr(transferred(here, pairs, intensity_g_per_kwh=None), figure)
        assert range_ is not None
        ranges.append(range_)
    return Foretold(
        name=case.name,
        figure=figure,
        expected=sum(each.expected for each in ranges),
        low=sum(each.low for each in ranges),
        high=sum(each.high for each in ranges),
        spent=sum(getattr(each, figure) for each in case.slow),
        there=sum(getattr(each, figure) for each in case.fast),
    )


def judged(found: Sequence[Foretold]) -> dict[str, Any]:
    """Return the errors of forecasts, beside those of taking the fast machine's cost as it is."""
    errors = [abs(each.expected / each.spent - 1) for each in found]
    unchanged = [abs(each.there / each.spent - 1) for each in found]
    return {
        "pipelines": [each.name for each in found],
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "covered": sum(each.low <= each.spent <= each.high for each in found) / len(found),
        "widest_range": max(each.high / each.low for each in found),
        "median_error_of_the_other_machines_cost": statistics.median(unchanged),
        "ratio_of_machines": [round(each.spent / each.there, 3) for each in found],
    }


def main() -> None:
    """Run, merge, foretell, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--keep", type=Path, nargs="+", required=True, help="folders of both machines' ledgers, one per session"
    )
    parser.add_argument("--at-once", type=int, default=1, help="pipelines that run beside each other")
    parser.add_argument("--judge", action="store_true", help="run nothing")
    options = parser.parse_args()
    for folder in () if options.judge else options.keep:
        folder.mkdir(parents=True, exist_ok=True)
        carried_out(folder, options.at_once)
    sessions = [cases(folder) for folder in options.keep]
    parts: dict[str, dict[str, Any]] = {}
    for figure in ("energy_j", "duration_s"):
        alone, others = [], []
        for both in sessions:
            fitted = [case for seed, case in both.items() if seed < len(FITTED)]
            alone += [foretold(case, [each for each in fitted if each is not case], figure) for case in fitted]
            others += [foretold(case, fitted, figure) for seed, case in both.items() if seed >= len(FITTED)]
        parts[figure] = {"fitted": judged(alone), "judged": judged(others)}
    content = {"sessions": len(sessions), "quota_cores": QUOTA, "until": UNTIL, "figures": parts}
    print(json.dumps(content, indent=2))
    print(write_result("hardware", content))


if __name__ == "__main__":
    main()
