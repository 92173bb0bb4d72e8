"""A job of a sweep on its node: one stage or gate by `dvc repro`, in a tree that the job claims.

submitit runs it and handles Slurm's signal before the time limit: the stage stops at its next step with a checkpoint,
and the job goes back into the queue. SIGTERM, by which Slurm pre-empts and cancels, stops the stage likewise, and Slurm
decides what becomes of the job. dvc ignores both signals, which some clusters send to every process of a job.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.config import validate
from overwinter.errors import EXIT_DONE, EXIT_INTEGRITY, EXIT_REFUSED, OverwinterError
from overwinter.pipeline.locks import locked_if_free
from overwinter.pipeline.render import render_dvc_yaml
from overwinter.pipeline.reproduce import Reproduction, RunningDvc, new_run_id
from overwinter.pipeline.signals import ignored, interrupts_handled
from overwinter.programs import EXIT_INTERRUPTED
from overwinter.slurm.accounting import JOB_MARK
from overwinter.slurm.state import EndedProgram, SlurmFolder
from overwinter.sweep.recording import experiment_name, experiment_text
from overwinter.sweep.repository import Repository
from overwinter.sweep.results import DONE, FAILED, REFUSED, PointRecord, read_figures
from overwinter.sweep.trees import Tree, copy_tree

_POLL_S = 0.05
_LIVES = 2  # a job whose dvc dies, or whose tree is damaged, starts once more in a new tree


@dataclass(frozen=True, kw_only=True)
class SubmittedSweep:
    """What all jobs of a sweep have in common.

    Attributes:
        name: The sweep's name.
        folder: Its files.
        source: The tree with the repository's files, as they were at the submission.
        cache: The folder of DVC's cache.
        repository: The user's repository.
    """

    name: str
    folder: SlurmFolder
    source: Tree
    cache: Path
    repository: Repository

    @property
    def root(self) -> Path:
        """The user's project."""
        return self.source.main.root


@dataclass(frozen=True, kw_only=True)
class SubmittedPoint:
    """A point, without its configuration, which its params.yaml has; the attributes are those of `Point`."""

    name: str
    overrides: tuple[str, ...]
    keys: dict[str, str]


class ProgramTask:
    """What submitit calls on the node: a program, for the points that it is the last program of, or for one example.

    Args:
        sweep: The sweep.
        id_: The program's id.
        name: Its name in dvc.yaml.
        points: The points in whose configuration it runs.
        saves: Whether the points end with it, so that their results are saved.
        cpus: The processors that its job was given.
    """

    def __init__(
        self, sweep: SubmittedSweep, *, id_: str, name: str, points: list[SubmittedPoint], saves: bool, cpus: int | None
    ) -> None:
        self._sweep, self._id, self._name = sweep, id_, name
        self._points, self._saves, self._cpus = points, saves, cpus
        self._tree = sweep.source
        self._dvc: RunningDvc | None = None
        self._stopping = False

    def __call__(self) -> None:
        """Run the program, and write how it ended; nothing is written if it was interrupted."""
        from submitit.core.utils import UncompletedJobError

        began_s = time.time()
        os.environ.update(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", str(self._cpus or 1)))
        with interrupts_handled(self._stop):
            try:
                found = self._outcome()
            except UncompletedJobError:  # raised by submitit's handler once the time limit was reached too often
                message = (
                    f"{self._name} reached its time limit too often. Raise its time_min or hydra.launcher.timeouts."
                )
                found = {"status": FAILED, "message": message, "failed": self._name, "run_id": ""}
            except (OverwinterError, OSError) as error:
                found = {"status": FAILED, "message": str(error), "failed": self._name, "run_id": ""}
        if found is None:
            sys.exit(EXIT_INTERRUPTED)
        job, host = _job(), platform.node()
        self._sweep.folder.note(
            EndedProgram(id=self._id, job=job, host=host, started_s=began_s, ended_s=time.time(), **found)
        )
        if found["status"] != DONE:
            sys.exit(EXIT_REFUSED)  # what waits for this job shall not start

    def checkpoint(self) -> Any:
        """Stop the stage with a checkpoint, and return what submitit submits again: this program."""
        from submitit.core.utils import DelayedSubmission

        self._stop()
        while self._dvc is not None and not self._dvc.has_ended():
            time.sleep(_POLL_S)
        again = ProgramTask(
            self._sweep, id_=self._id, name=self._name, points=self._points, saves=self._saves, cpus=self._cpus
        )
        return DelayedSubmission(again)

    def _stop(self) -> None:
        self._stopping = True
        if self._dvc is not None:
            self._dvc.interrupt()

    def _outcome(self) -> dict[str, Any] | None:
        """Run the program for its points; return how it ended, or None if it was interrupted."""
        ran: dict[str, None] = {}
        records, outcome = [], None
        with self._claimed() as tree:
            for point in self._points:
                outcome = self._reproduced(tree, point)
                ran |= dict.fromkeys(stage for stage in outcome.ran if stage in point.keys)
                if outcome.exit_code != EXIT_DONE:
                    break
                if self._saves:
                    records.append(self._saved(point, outcome))
        assert outcome is not None  # noqa: S101 -- a program has a point
        if outcome.exit_code != EXIT_DONE and self._stopping:
            return None
        status = {EXIT_DONE: DONE, EXIT_REFUSED: REFUSED}.get(outcome.exit_code, FAILED)
        failed = "" if status == DONE else outcome.failed or self._name
        found = {"status": status, "message": outcome.message, "failed": failed, "run_id": outcome.run_id}
        return {**found, "ran": tuple(ran), "points": tuple(records)}

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[str]:
        """Claim a tree of this node that no other job uses, and yield its name."""
        locks = self._sweep.source.main.state / "locks"
        for number in itertools.count():
            name = f"{platform.node()}-{number}"
            with locked_if_free(locks / f"tree-{name}.lock") as free:
                if free:
                    yield name
                    return

    def _reproduced(self, tree: str, point: SubmittedPoint) -> Reproduction:
        for life in range(1, _LIVES + 1):
            self._tree = copy_tree(self._sweep.source, tree, cache=self._sweep.cache, anew=life > 1)
            outcome = self._run(self._tree, point)
            died = outcome.exit_code == EXIT_INTEGRITY or (outcome.exit_code != EXIT_DONE and outcome.failed is None)
            if not died or self._stopping:
                break
        return outcome

    def _run(self, tree: Tree, point: SubmittedPoint) -> Reproduction:
        text = self._sweep.folder.params(point.name).read_text(encoding="utf-8")
        config = validate(text)
        tree.prepare(text, config, render_dvc_yaml(config, self._sweep.source.main))
        log = self._sweep.folder.log(self._id)
        log.parent.mkdir(parents=True, exist_ok=True)
        with ignored(signal.SIGTERM, signal.SIGUSR2):
            self._dvc = RunningDvc(
                tree.project,
                run_id=f"{self._sweep.name}/{new_run_id()}{JOB_MARK}{_job()}",
                log=log,
                targets=[self._name],
                environment={"DVC_ROOT": str(self._sweep.root), "DVC_EXP_NAME": experiment_name(point.name)},
            )
        try:
            if self._stopping:
                self._dvc.interrupt()
            while not self._dvc.has_ended():
                time.sleep(_POLL_S)
            list(self._dvc.events())
            return self._dvc.outcome()
        finally:
            self._dvc.kill()

    def _saved(self, point: SubmittedPoint, outcome: Reproduction) -> PointRecord:
        name = experiment_name(point.name)
        message = experiment_text(self._sweep.name, point.overrides)
        self._sweep.repository.save(name, self._tree.top, message=message, without=self._tree.links)
        figures: dict[str, Any] = read_figures(self._tree.project.outputs, list(point.keys))
        return PointRecord(
            name=point.name,
            overrides=point.overrides,
            keys=point.keys,
            status=DONE,
            run_id=outcome.run_id,
            experiment=name,
            **figures,
        )


def _job() -> str:
    """Return this job's name: `12`, or `12_3` in an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return os.environ.get("SLURM_JOB_ID", "0") if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
