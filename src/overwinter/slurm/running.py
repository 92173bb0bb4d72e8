"""Running the points of a sweep on Slurm: submitting, following the queue, and submitting again what was lost.

Whatever ends this loop ends no job. The same command finds the jobs in the queue, takes the records that they have
written, and submits only what is neither there nor done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from overwinter.config import Project
from overwinter.config.groups.slurm import SlurmSettings
from overwinter.config.groups.sweep import SweepSettings
from overwinter.errors import ConfigError
from overwinter.ledger import Ledger, ledger_path
from overwinter.pipeline.signals import interrupts_handled
from overwinter.slurm.accounting import account
from overwinter.slurm.arrays import Place, job_name, next_arrays
from overwinter.slurm.beginning import chosen_start
from overwinter.slurm.losses import CANCELLED, GIVEN_UP, Losses, describe_loss
from overwinter.slurm.programs import Program, make_programs, program_ids
from overwinter.slurm.queue import (
    JobState,
    QueueFullError,
    SilentSlurmError,
    cancel,
    job_states,
    largest_array,
    require_slurm,
)
from overwinter.slurm.state import EndedProgram, SlurmFolder
from overwinter.slurm.submitting import Submitter
from overwinter.slurm.task import SubmittedSweep
from overwinter.sweep.costs import Costs
from overwinter.sweep.points import Point
from overwinter.sweep.recording import OnEvent, Recorder
from overwinter.sweep.repository import find_repository
from overwinter.sweep.results import (
    DONE,
    FAILED,
    INTERRUPTED,
    REFUSED,
    SKIPPED,
    PointResult,
    refuse_links,
    sweep_folder,
)
from overwinter.sweep.running import alone_in
from overwinter.sweep.spending import Spending, read_budget_j
from overwinter.sweep.trees import cache_folder, make_tree

_SKEW_S = 5.0  # a job that began before it was submitted, or ended in the future, by more than this
_ORDINARY = (
    "None",
    "Priority",
    "Resources",
    "Dependency",
    "BeginTime",
    "JobArrayTaskLimit",
    "DependencyNeverSatisfied",
)


def run_on_slurm(
    project: Project,
    points: Sequence[Point],
    *,
    settings: SweepSettings,
    on_event: OnEvent,
    overrides: Sequence[str] = (),
) -> list[PointResult]:
    """Run points as Slurm's jobs, and return their results in the same order.

    Args:
        project: The project, on a file system that all nodes share.
        points: The points; equal ones run once.
        settings: The settings, which are `SlurmSettings`; `name` must be set.
        on_event: A function that gets every event, as in `sweep.run_points`.
        overrides: The overrides of the whole sweep, without Hydra's own.

    Raises:
        ConfigError: this machine has no Slurm or no submitit, Slurm refuses what a setting asks for, the budgets of the
            points differ, or as in `sweep.run_points`.
        RefusedError: another sweep of the project runs.
        OverwinterError: Slurm does not answer, or the disk is full.
    """
    assert isinstance(settings, SlurmSettings)  # noqa: S101 -- the launcher's own
    require_slurm()
    repository = find_repository(project)
    name = settings.name or "sweep"
    folder = sweep_folder(project, name)
    refuse_links(*folder.glob("*"))
    spending = Spending(project, f"{name}/", read_budget_j(settings.budget))
    different = list({each.name: each for each in points}.values())
    refuse_different_budgets(different)
    with alone_in(project):
        recorder = Recorder(
            project, repository, different, settings, spent=spending.spent_j, on_event=on_event, overrides=overrides
        )
        cache = cache_folder(project)
        sweep = SubmittedSweep(
            name=name,
            folder=SlurmFolder(path=folder / "slurm"),
            source=make_tree(f"source-{name}", project, repository, cache=cache),
            cache=cache,
            repository=repository,
        )
        results = _SlurmRun(project, different, settings, spending, recorder, sweep).results()
    return [results[point.name] for point in points]


def refuse_different_budgets(points: Sequence[Point]) -> None:
    """Check that all points have the same budget: they share gates, which judge by it.

    Raises:
        ConfigError: two budgets differ.
    """
    other = next((point for point in points if point.config.budget != points[0].config.budget), None)
    if other is not None:
        raise ConfigError(
            f"The points {points[0].name} and {other.name} have different budgets, and on Slurm all points of a sweep "
            "share their gates. Run one sweep per budget."
        )


class _SlurmRun:
    """One run of a sweep, until every point has ended or the command stops following."""

    def __init__(
        self,
        project: Project,
        points: Sequence[Point],
        settings: SlurmSettings,
        spending: Spending,
        recorder: Recorder,
        sweep: SubmittedSweep,
    ) -> None:
        self._settings, self._spending, self._recorder, self._sweep = settings, spending, recorder, sweep
        self._folder = sweep.folder
        with Ledger.open(ledger_path(project.root)) as ledger:
            self._costs = Costs(ledger.executions())
        earlier = set(recorder.take_earlier())
        self._left = {point.name: point for number, point in enumerate(points) if number not in earlier}
        self._done: set[str] = set()
        self._places: dict[str, Place] = {}
        self._submitted_s: dict[str, float] = {}
        self._ran: dict[str, list[str]] = {}
        self._started: set[str] = set()
        self._said: set[str] = set()
        self._losses = Losses()
        self._detached = False

    def results(self) -> dict[str, PointResult]:
        """Run everything, and return the results by the points' names."""
        self._take_up()
        self._leave_out_unaffordable()
        if self._left:
            self._submitter = self._made_submitter()
            with self._signals():
                self._go_on()
            self._say_accounting()
        for point in self._left.values():
            job = "its jobs go on in Slurm, and the same command follows them"
            self._recorder.note(PointResult(point=point, status=INTERRUPTED, message=job))
        self._recorder.write()
        return self._recorder.by_name()

    # Before the first job.

    def _take_up(self) -> None:
        """Take up the jobs that an earlier command submitted and did not see end."""
        self._places = self._folder.read_places()
        if self._places:
            self._take_ended()
            states = job_states()
            gone = {each for each, place in self._places.items() if not _is_active(states.get(job_name(place)))}
            self._places = {each: place for each, place in self._places.items() if each not in gone}

    def _leave_out_unaffordable(self) -> None:
        """Skip the points that the sweep's budget is not expected to hold."""
        points = list(self._left.values())
        planned_j: dict[str, float] = {}
        paid: set[str] = set()
        for number in self._spending.order(points):
            point = points[number]
            refusal = self._spending.refusal(point, paid, planned_j)
            if refusal is not None:
                self._end(PointResult(point=point, status=SKIPPED, message=refusal))
                continue
            if self._spending.budget_j is not None:
                planned_j[f"planned/{point.name}"] = self._spending.expected_j(point, paid)
            paid |= set(point.keys.values())

    def _made_submitter(self) -> Submitter:
        self._folder.params("").parent.mkdir(parents=True, exist_ok=True)
        for point in self._left.values():
            self._folder.params(point.name).write_text(point.params, encoding="utf-8")
        programs, points = self._programs(), list(self._left.values())
        begin_s, why = chosen_start(points, programs.values(), self._costs, self._settings)
        if why:
            self._say(why)
        submitter = Submitter(self._sweep, self._settings, begin_s=begin_s)
        submitter.check(programs)
        self._largest = largest_array()
        return submitter

    # Following.

    def _go_on(self) -> None:
        self._submit(first=not self._places)
        while self._left and not self._detached:
            self._wait()
            self._take_ended()
            self._look_at_queue()
            self._hold_to_budget()
            self._submit()

    def _programs(self) -> dict[str, Program]:
        return make_programs(list(self._left.values()), ended=self._done, is_done=self._costs.is_done)

    def _submit(self, *, first: bool = False) -> None:
        """Submit what is needed and not in the queue, as far as Slurm takes it."""
        programs, before = self._programs(), set(self._places)
        try:
            while arrays := next_arrays(programs, self._places, largest=self._largest):
                for array in arrays:
                    places = self._submitter.submit(array, self._places)
                    self._places |= places
                    self._submitted_s |= dict.fromkeys(places, time.time())
                    self._folder.write_places(self._places)  # a command that is killed now knows its jobs later
        except ConfigError:  # what the first jobs of a mistaken setting wait for will never come
            cancel(job_name(self._places.pop(each)) for each in self._places.keys() - before)
            self._folder.write_places(self._places)
            raise
        except QueueFullError as error:
            waiting = sum(each not in self._places for each in programs)
            self._say_once("full", f"{error}. {waiting} of {len(programs)} jobs follow as others end")
        except SilentSlurmError as error:
            if first and not self._places:
                raise
            self._say_once("silent", str(error))

    def _take_ended(self) -> None:
        """Take the records of programs that have ended."""
        for program in self._folder.all_ended() & self._places.keys():
            ended = self._folder.ended(program)
            if ended is None:
                continue
            self._losses.seen(program)
            self._compare_clocks(ended)
            del self._places[program]
            if ended.status == DONE:
                self._take_done(ended)
            else:
                self._take_failed(ended)
        self._folder.write_places(self._places)

    def _take_done(self, ended: EndedProgram) -> None:
        self._done.add(ended.id)
        for stage in ended.ran:
            self._ran.setdefault(stage, []).append(ended.id)
        for record in ended.points:
            point = self._left.get(record.name)
            if point is not None:
                ran = tuple(stage for stage in point.keys if self._has_run(point, stage))
                self._end(record.result(point, ran=ran))

    def _has_run(self, point: Point, stage: str) -> bool:
        """Return whether a job of this run executed a stage, in a program that a point has."""
        own = program_ids(point)
        return any(each in own for each in self._ran.get(stage, ()))

    def _take_failed(self, ended: EndedProgram) -> None:
        status = REFUSED if ended.status == REFUSED else FAILED
        having = [point for point in self._left.values() if ended.id in program_ids(point)]
        for number, point in enumerate(having):
            elsewhere = f"{ended.failed} {status} in point {having[0].name}, which has the same settings up to there"
            message = ended.message if number == 0 or status == REFUSED else elsewhere
            self._end(PointResult(point=point, status=status, message=message, run_id=ended.run_id, ran=ended.ran))

    def _look_at_queue(self) -> None:
        try:
            states = job_states()
        except SilentSlurmError as error:
            self._say_once("silent", f"{error} The jobs go on by themselves.")
            return
        self._said.discard("silent")
        programs = self._programs()
        order = {program: number for number, program in enumerate(programs)}
        for program in sorted(self._places, key=lambda each: order.get(each, len(order))):
            place = self._places.get(program)
            state = None if place is None else states.get(job_name(place))
            if _is_active(state):
                self._losses.seen(program)
                self._tell_state(programs.get(program), state)
            elif place is not None and self._losses.missed(program, state):
                self._lose(program, job_name(place), state)

    def _lose(self, program: str, job: str, state: JobState | None) -> None:
        """Decide what becomes of a program whose job is gone without a record."""
        lost = self._programs().get(program)
        if lost is None:  # no point needs it any more
            del self._places[program]
            return
        if lost.after is not None and (lost.after not in self._places or self._losses.is_missed(lost.after)):
            return  # Slurm has cancelled it, since what it waits for is lost, too
        loss = describe_loss(lost.name, job, state)
        verdict = self._losses.verdict(program, state)
        self._withdraw(program)
        if verdict == CANCELLED:
            self._end_all(program, INTERRUPTED, f"{loss} The same command goes on.")
        elif verdict == GIVEN_UP:
            self._end_all(program, FAILED, f"{loss} See {self._sweep.folder.log(program)}.")
        else:
            self._say(f"{loss} It is submitted again.", lost.example)

    def _withdraw(self, program: str) -> None:
        """Forget the jobs of a program and of all that wait for it, which can never start."""
        gone = {program}
        for each in self._programs().values():
            if each.after in gone:
                gone.add(each.id)
        cancel(job_name(self._places.pop(each)) for each in gone & self._places.keys())

    def _hold_to_budget(self) -> None:
        if self._spending.exceeded():
            cancel(job_name(place) for place in self._places.values())
            self._places = {}
            for point in list(self._left.values()):
                self._end(PointResult(point=point, status=SKIPPED, message="the sweep's budget is spent"))

    def _wait(self) -> None:
        deadline_s = time.monotonic() + self._settings.poll_s
        while not self._detached and time.monotonic() < deadline_s:
            time.sleep(min(0.1, self._settings.poll_s))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop following at the first SIGINT or SIGTERM; the jobs go on."""

        def handle() -> None:
            if self._detached:
                raise KeyboardInterrupt
            self._detached = True

        in_main = threading.current_thread() is threading.main_thread()
        with interrupts_handled(handle) if in_main else contextlib.nullcontext():
            yield

    # Ends, and the events of them.

    def _end(self, result: PointResult) -> None:
        self._left.pop(result.point.name, None)
        self._recorder.finish(result)

    def _end_all(self, program: str, status: str, message: str) -> None:
        for point in [each for each in self._left.values() if program in program_ids(each)]:
            self._end(PointResult(point=point, status=status, message=message))

    def _tell_state(self, program: Program | None, state: JobState | None) -> None:
        if program is None or state is None:
            return
        if state.state == "RUNNING" and program.id not in self._started:
            self._started.add(program.id)
            if program.example.name not in self._started:
                self._started.add(program.example.name)
                self._recorder.tell("point", program.example, status="started")
            self._recorder.pass_on({"event": "start", "stage": program.name, "time_s": time.time()}, program.example)
        elif state.state == "PENDING" and state.reason not in _ORDINARY:
            self._say_once(state.reason, f"{program.name} waits in Slurm's queue: {state.reason}")

    def _compare_clocks(self, ended: EndedProgram) -> None:
        """Warn of a node whose clock cannot be right: a job ends before its record is seen, and begins after it."""
        behind_s = self._submitted_s.get(ended.id, ended.started_s) - ended.started_s
        ahead_s = ended.ended_s - time.time()
        for off_s, which in ((behind_s, "behind"), (ahead_s, "ahead of")):
            if off_s > _SKEW_S:
                self._say_once(
                    f"clock of {ended.host}",
                    f"the clock of {ended.host} is at least {off_s:.0f} s {which} this machine's: the ledger's times "
                    "are wrong by that, its joules and durations are not. Set the clocks by NTP",
                )

    def _say_once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(text)

    def _say(self, text: str, point: Point | None = None) -> None:
        self._recorder.say(text, point)

    def _say_accounting(self) -> None:
        accounting = account(self._spending.spent_j())
        self._folder.note_accounting(accounting)
        self._say(accounting.describe())


def _is_active(state: JobState | None) -> bool:
    return state is not None and state.is_active
