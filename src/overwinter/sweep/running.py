"""Running the points of a sweep: each in a worker's tree by `dvc repro`, shared stages once.

One loop follows all workers. A point that ends is saved as a DVC experiment and written to points.json, so whatever
ends the sweep loses nothing: the next one of the same name goes on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from overwinter.config import Project
from overwinter.config.groups.sweep import SweepSettings
from overwinter.errors import EXIT_DONE, EXIT_INTEGRITY, EXIT_REFUSED, OverwinterError, RefusedError
from overwinter.pipeline.locks import LockedError, locked
from overwinter.pipeline.render import gate_name, render_dvc_yaml
from overwinter.pipeline.reproduce import Reproduction, RunningDvc, new_run_id
from overwinter.pipeline.signals import interrupts_handled
from overwinter.sweep.points import Point
from overwinter.sweep.recording import OnEvent, Recorder, experiment_name, experiment_text
from overwinter.sweep.repository import Repository, find_repository
from overwinter.sweep.results import (
    DONE,
    FAILED,
    INTERRUPTED,
    REFUSED,
    SKIPPED,
    PointResult,
    read_figures,
    refuse_links,
    sweep_folder,
)
from overwinter.sweep.scheduling import Schedule, shared_stages
from overwinter.sweep.spending import Spending, read_budget_j
from overwinter.sweep.trees import Tree, cache_folder, make_tree

_POLL_S = 0.05
_BUDGET_POLL_S = 1.0
_PATIENCE_S = 30.0  # for what still runs when the sweep itself cannot go on, as on a full disk
_DIED_TWICE = 2


def run_points(
    project: Project,
    points: Sequence[Point],
    *,
    settings: SweepSettings,
    on_event: OnEvent,
    overrides: Sequence[str] = (),
) -> list[PointResult]:
    """Run points, and return their results in the same order.

    Args:
        project: The project.
        points: The points; equal ones run once.
        settings: The sweep's settings; `name` must be set.
        on_event: A function that gets every event: those of the stages, with the point's name as `point`; and `point`,
            when one starts or ends.
        overrides: The overrides of the whole sweep, without Hydra's own.

    Raises:
        ConfigError: the project is not in a Git repository with a commit, a setting is invalid, or the name is that of
            a sweep with other overrides.
        IntegrityError: a file that the sweep writes is a link.
        RefusedError: another sweep of the project runs.
        OverwinterError: the disk is full.
    """
    repository = find_repository(project)
    name = settings.name or "sweep"
    folder = sweep_folder(project, name)
    refuse_links(*folder.glob("*"))
    spending = Spending(project, f"{name}/", read_budget_j(settings.budget))
    with alone_in(project) as lock:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        different = list({each.name: each for each in points}.values())
        recorder = Recorder(
            project, repository, different, settings, spent=spending.spent_j, on_event=on_event, overrides=overrides
        )
        run = _SweepRun(project, repository, different, settings, spending, recorder, lock)
        results = run.results()
    return [results[point.name] for point in points]


@contextlib.contextmanager
def alone_in(project: Project) -> Iterator[int]:
    """Hold the project's lock on sweeps, and yield its file, which dvc inherits: an orphan still holds the lock.

    Raises:
        RefusedError: another sweep of the project runs.
    """
    path = project.state / "sweeps" / "lock"
    refuse_links(path)
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(locked(path, what=f"The folder of worker trees of {project.root}"))
        except LockedError as error:
            raise RefusedError(
                f"Another sweep of {project.root} runs, as process {error.holder}, and two do not run at once; nothing "
                "was started.\nRun this one when it has ended, or stop it: it goes on with its own command."
            ) from None
        yield handle


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a worker's tree holds once a point in it is done: its stages' keys, and what its gates and stages read."""

    keys: Mapping[str, str]
    budget: Any
    dvc_yaml: str


@dataclass(kw_only=True)
class _Worker:
    """A worker's tree, what runs in it, and what it holds while nothing does.

    Attributes:
        number: The number of its tree.
        tree: The tree; None until the first point.
        dvc: What runs; None while it is idle.
        point: The number of its latest point.
        closing: Whether all stages of that point have ended, and only the last gate and DVC's own work are left.
        holds: What the tree holds, if its latest point is done.
        makes: What it will hold then.
        expected_j: The forecast joules of its point.
        run_id: The id of its latest run.
    """

    number: int
    tree: Tree | None = None
    dvc: RunningDvc | None = None
    point: int = -1
    closing: bool = False
    holds: Written | None = None
    makes: Written | None = None
    expected_j: float = 0.0
    run_id: str = ""

    def recall(self) -> None:
        """Take up what the tree holds from an earlier batch of this process, if nothing has changed it since."""
        if self.tree is not None and self.tree.top in _HELD:
            holds, lock = _HELD.pop(self.tree.top)
            self.holds = holds if _lock_file(self.tree) == lock else None

    def remember(self) -> None:
        """Keep what the tree holds for the next batch of this process."""
        if self.tree is not None and self.holds is not None:
            _HELD[self.tree.top] = (self.holds, _lock_file(self.tree))

    def in_common(self, point: Point) -> int:
        """Return how many stages of a point the tree holds."""
        return 0 if self.holds is None else shared_stages(self.holds.keys, point.keys)


_HELD: dict[Path, tuple[Written, bytes]] = {}  # a search runs a batch after each few results


def _lock_file(tree: Tree) -> bytes:
    path = tree.project.root / "dvc.lock"
    return path.read_bytes() if path.exists() else b""


class _SweepRun:
    """One run of a sweep, until nothing waits or it is stopped."""

    def __init__(
        self,
        project: Project,
        repository: Repository,
        points: list[Point],
        settings: SweepSettings,
        spending: Spending,
        recorder: Recorder,
        lock: int,
    ) -> None:
        self._project, self._repository, self._points = project, repository, points
        self._name = settings.name or "sweep"
        self._folder = sweep_folder(project, self._name)
        self._recorder, self._lock = recorder, lock
        # One more than run stages at once: a point starts while the one before it is being closed.
        self._workers = [_Worker(number=number) for number in range(settings.workers + 1)]
        self._at_once = settings.workers
        self._spending = spending
        self._schedule = Schedule([point.keys for point in points], self._spending.order(points))
        self._deaths: dict[int, int] = {}
        self._stopping = False
        self._over_budget = ""

    def results(self) -> dict[str, PointResult]:
        """Run everything, and return the results by the points' names."""
        for number in self._recorder.take_earlier():
            self._schedule.drop(number)
        for worker in self._workers[: len(self._schedule.waiting)]:
            worker.tree = self._made_tree(worker)  # all of the same files, whatever the user edits meanwhile
            worker.recall()
        with self._signals():
            try:
                while self._start_some():
                    self._follow()
            except OverwinterError:
                self._stop()
                self._wait(_PATIENCE_S)
                raise
            finally:
                for worker in self._workers:
                    worker.remember()
                    if worker.dvc is not None:
                        worker.dvc.kill()
        for point in list(self._schedule.waiting):
            status = SKIPPED if self._over_budget else INTERRUPTED
            self._schedule.drop(point)
            self._recorder.note(PointResult(point=self._points[point], status=status, message=self._over_budget))
        self._recorder.write()
        return self._recorder.by_name()

    # Starting.

    def _start_some(self) -> bool:
        """Start points on idle workers, as far as there are any, and return whether something runs."""
        while not self._stopping and (idle := self._idle()):
            number = self._schedule.next()
            if number is None:
                break
            if (failed := self._schedule.failed_before(number)) is not None:
                self._schedule.drop(number)
                self._recorder.finish(self._not_tried(number, *failed))
            elif self._refused_by_budget(number):
                break
            else:
                point = self._points[number]
                self._start(max(idle, key=methodcaller("in_common", point)), number)
        return bool(self._schedule.running)

    def _idle(self) -> list[_Worker]:
        """Return the workers that may start a point now."""
        working = sum(worker.dvc is not None and not worker.closing for worker in self._workers)
        return [worker for worker in self._workers if worker.dvc is None] if working < self._at_once else []

    def _refused_by_budget(self, number: int) -> bool:
        running = {each.run_id: each.expected_j for each in self._workers if each.dvc is not None}
        refusal = self._spending.refusal(self._points[number], self._schedule.paid_for, running)
        if refusal is not None and not running:
            self._over_budget, self._stopping = refusal, True
        return refusal is not None

    def _start(self, worker: _Worker, number: int) -> None:
        point = self._points[number]
        worker.tree = self._tree(worker, anew=self._deaths.get(number, 0) > 0)
        makes = Written(
            keys=point.keys, budget=point.config.budget, dvc_yaml=render_dvc_yaml(point.config, self._project)
        )
        worker.tree.prepare(point.params, point.config, makes.dvc_yaml)
        worker.run_id = f"{self._name}/{new_run_id()}"
        if self._spending.budget_j is not None:
            worker.expected_j = self._spending.expected_j(point, self._schedule.paid_for)
        self._schedule.start(number)
        if alone := programs_to_run(worker.holds, makes):
            worker.tree.forget_check()
        worker.point, worker.closing, worker.holds, worker.makes = number, False, None, makes
        worker.dvc = RunningDvc(
            worker.tree.project,
            run_id=worker.run_id,
            log=self._folder / "logs" / f"{point.name}.log",
            targets=["--single-item", *alone] if alone else [gate_name(list(point.keys)[-1])],
            environment={"DVC_ROOT": str(self._project.root), "DVC_EXP_NAME": experiment_name(point.name)},
            inherited=[self._lock],
        )
        self._recorder.tell("point", point, status="started")

    def _tree(self, worker: _Worker, *, anew: bool) -> Tree:
        return self._made_tree(worker, anew=anew) if worker.tree is None or anew else worker.tree

    def _made_tree(self, worker: _Worker, *, anew: bool = False) -> Tree:
        cache = cache_folder(self._project)
        return make_tree(worker.number, self._project, self._repository, cache=cache, anew=anew)

    def _not_tried(self, number: int, stage: str, other: int) -> PointResult:
        name = self._points[other].name
        message = f"{stage} failed in point {name}, which has the same settings up to there"
        return PointResult(point=self._points[number], status=FAILED, message=message)

    # Following.

    def _follow(self) -> None:
        looked_s = time.monotonic()
        while not sum(self._look(worker) for worker in self._workers if worker.dvc is not None):
            time.sleep(_POLL_S)
            if time.monotonic() - looked_s > _BUDGET_POLL_S:
                looked_s = time.monotonic()
                self._hold_to_budget()

    def _look(self, worker: _Worker) -> bool:
        """Pass on a worker's events, and return whether another point may now start."""
        assert worker.dvc is not None  # noqa: S101 -- for the type checker
        ended, freed = worker.dvc.has_ended(), False
        stages = list(self._points[worker.point].keys)
        for event in worker.dvc.events():
            if event["event"] == "start":
                self._schedule.commit(worker.point, committed_before(event["stage"], stages))
                freed = True
            elif event["event"] == "end" and event["stage"] == stages[-1] and event["exit_code"] == EXIT_DONE:
                worker.closing = freed = True
            self._recorder.pass_on(event, self._points[worker.point])
        if ended:
            self._conclude(worker, worker.dvc.outcome())
        return ended or freed

    def _hold_to_budget(self) -> None:
        if not self._stopping and self._spending.exceeded():
            self._over_budget = "the sweep's budget is spent"
            self._stop()

    def _conclude(self, worker: _Worker, outcome: Reproduction) -> None:
        number, point = worker.point, self._points[worker.point]
        worker.dvc = None
        stages = [stage for stage in outcome.ran if stage in point.keys]
        if outcome.exit_code == EXIT_DONE:
            worker.holds = worker.makes
            self._schedule.commit(number, list(point.keys))
            self._schedule.end(number)
            self._recorder.finish(self._saved(worker, outcome, tuple(stages)))
        elif self._stopping:
            status = SKIPPED if self._over_budget else INTERRUPTED
            self._end(number, outcome, status, stages, self._over_budget or outcome.message)
        elif self._may_try_again(number, outcome):
            self._deaths[number] = self._deaths.get(number, 0) + 1
            self._schedule.put_back(number)
            text = f"its worker died; it starts again in a new tree ({outcome.message})"
            self._recorder.tell("say", point, text=text)
        elif outcome.exit_code == EXIT_REFUSED:
            self._end(number, outcome, REFUSED, stages, outcome.message)
        else:
            self._end(number, outcome, FAILED, stages, outcome.message, at=outcome.failed)

    def _may_try_again(self, number: int, outcome: Reproduction) -> bool:
        """Return whether a point ended because of its worker or its tree, for the first time."""
        died = outcome.failed is None or outcome.exit_code == EXIT_INTEGRITY
        return died and self._deaths.get(number, 0) + 1 < _DIED_TWICE

    def _end(
        self,
        number: int,
        outcome: Reproduction,
        status: str,
        stages: Sequence[str],
        message: str,
        at: str | None = None,
    ) -> None:
        point = self._points[number]
        self._schedule.end(number, at if at in point.keys else None)
        result = PointResult(point=point, status=status, message=message, run_id=outcome.run_id, ran=tuple(stages))
        self._recorder.finish(result)

    def _saved(self, worker: _Worker, outcome: Reproduction, stages: tuple[str, ...]) -> PointResult:
        point, tree = self._points[worker.point], worker.tree
        assert tree is not None  # noqa: S101 -- for the type checker
        name = experiment_name(point.name)
        message = experiment_text(self._name, point.overrides)
        self._repository.save(name, tree.top, message=message, without=tree.links)
        figures: dict[str, Any] = read_figures(tree.project.outputs, list(point.keys))
        return PointResult(point=point, status=DONE, run_id=outcome.run_id, experiment=name, ran=stages, **figures)

    # Stopping.

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.dvc is not None and not worker.closing:  # what is being closed is done in a moment
                worker.dvc.interrupt()

    def _wait(self, patience_s: float) -> None:
        """Wait until nothing runs, for their checkpoints."""
        deadline = time.monotonic() + patience_s
        running = [worker.dvc for worker in self._workers if worker.dvc is not None]
        while not all(dvc.has_ended() for dvc in running) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Forward the first SIGINT or SIGTERM to what runs, and kill at the second."""

        def handle() -> None:
            if self._stopping:
                raise KeyboardInterrupt
            self._stop()

        in_main = threading.current_thread() is threading.main_thread()
        with interrupts_handled(handle) if in_main else contextlib.nullcontext():
            yield


def programs_to_run(holds: Written | None, makes: Written) -> list[str]:
    """Return the stages and gates that a point adds to what a tree holds; empty if DVC has to look at all of them.

    DVC then looks at no others, which takes it half as long. The check is left out, since the sweep has checked every
    point before it started.
    """
    if holds is None or holds.budget != makes.budget or holds.dvc_yaml != makes.dvc_yaml:
        return []
    common = shared_stages(holds.keys, makes.keys)
    if common == 0:
        return []
    return [program for stage in list(makes.keys)[common:] for program in (stage, gate_name(stage))]


def committed_before(program: str, stages: Sequence[str]) -> Sequence[str]:
    """Return the stages that DVC has committed when a program starts: those before it, and a gate's own."""
    if program in stages:
        return stages[: stages.index(program)]
    judged = next((stage for stage in stages if gate_name(stage) == program), None)
    return () if judged is None else stages[: stages.index(judged) + 1]
