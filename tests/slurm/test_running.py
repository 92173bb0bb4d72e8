"""What the loop of a sweep on Slurm decides, with a pretended Slurm whose jobs end as a test says."""

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from overwinter.config.groups.slurm import SlurmSettings
from overwinter.errors import ConfigError, OverwinterError
from overwinter.slurm import queue, running
from overwinter.slurm.running import run_on_slurm
from overwinter.slurm.state import EndedProgram, SlurmFolder
from overwinter.sweep.repository import Repository
from overwinter.sweep.results import PointRecord, read_sweep

pytest.importorskip("submitit")


class World:
    """Between two looks at the queue, jobs whose dependencies are satisfied end; `ends` says how, by program."""

    def __init__(self, slurm, project, points):
        self.slurm, self.project, self.points = slurm, project, {each.name: each for each in points}
        self.folder = SlurmFolder(path=project.state / "sweeps" / "s" / "slurm")
        self.ends, self.looks, self.ran, self.said, self.clock_s = {}, 0, Counter(), [], 0.0
        self.done, self.known = set(), set()  # keys of stages: all that are done, and what the ledger had at the start
        self.each_look = lambda: None
        self.alive = True

    def turn(self, run):
        self.looks += 1
        assert self.looks < 100, "it never ends"
        self.each_look()
        if not self.alive:
            return
        programs = {running.job_name(place): each for each, place in run._places.items()}
        for job in self.slurm.waiting():
            if job in programs:
                self.end(job, programs[job])

    def end(self, job, program):
        name = program.rpartition("-")[0]
        how = self.ends.get(name, "done")
        how = how.pop(0) if isinstance(how, list) else how
        if how.isupper():
            self.slurm.set_state(job, how)
            return
        self.ran[program] += 1
        having = [point for point in self.points.values() if program in running.program_ids(point)]
        last = [each for each in having if running.program_ids(each)[-1] == program] if how == "done" else []
        records = tuple(record(each) for each in last)
        now_s = time.time() + self.clock_s
        self.folder.note(
            EndedProgram(
                id=program,
                status=how,
                message="" if how == "done" else "it is broken",
                failed=name,
                job=job,
                host="n1",
                started_s=now_s,
                ended_s=now_s,
                run_id=f"s/1-job{job}",
                ran=() if "gate" in name else (name,),
                points=records,
            )
        )
        self.done |= {having[0].keys[name]} if how == "done" and "gate" not in name else set()
        self.slurm.set_state(job, "COMPLETED" if how == "done" else "FAILED")

    def run(self, points=None, **settings):
        def tell(event):
            self.said += [event["text"]] if event["event"] == "say" else []

        self.known = set(self.done)
        made = SlurmSettings(name="s", until="quantize", poll_s=0.001, **settings)
        results = run_on_slurm(self.project, points or list(self.points.values()), settings=made, on_event=tell)
        assert read_sweep(self.project, "s") is not None
        return [each.status for each in results]


def record(point):
    own = {"name": point.name, "overrides": point.overrides, "keys": dict(point.keys)}
    return PointRecord(**own, status="done", experiment=f"point-{point.name}", run_id="s/1-job1")


@pytest.fixture
def world(slurm, project, point, monkeypatch):
    points = [point(f"{a}{b}", train="t", sparsify=a, quantize=b) for a in "xy" for b in "12"]
    made = World(slurm, project, points)
    monkeypatch.setattr(running, "cache_folder", lambda project: project.root)
    monkeypatch.setattr(running._SlurmRun, "_wait", lambda run: made.turn(run))  # noqa: PLW0108 -- tests replace `turn`
    monkeypatch.setattr(running.Costs, "is_done", lambda self, stage, key: key in made.known)
    monkeypatch.setattr(queue, "_run", slurm.answer)
    monkeypatch.setattr(Repository, "experiment", lambda self, name: "commit")
    return made


def test_each_program_is_a_job_once_and_all_points_end(world):
    assert world.run() == ["done"] * 4
    assert set(world.ran.values()) == {1}
    assert Counter(each.rpartition("-")[0] for each in world.ran) == {
        "train": 1, "gate-train": 1, "sparsify": 2, "gate-sparsify": 2, "quantize": 4, "gate-quantize": 4,
    }  # fmt: skip
    assert world.folder.read_places() == {}
    submissions = len(world.slurm.read()["scripts"])
    assert world.run() == ["done"] * 4
    assert len(world.slurm.read()["scripts"]) == submissions
    assert "Slurm's accounting has no figure" in world.said[-1]


def test_a_full_queue_takes_the_rest_as_jobs_end(world):
    def empty():
        world.slurm.change(room=len(world.slurm.jobs) + 2 if world.looks > 3 else 3)

    world.slurm.change(refuse="QOSMaxSubmitJobPerUserLimit", room=3)
    world.each_look = empty
    assert world.run() == ["done"] * 4
    assert set(world.ran.values()) == {1}
    assert sum("takes no more jobs of yours" in each for each in world.said) == 1
    assert "of 14 jobs follow as others end" in world.said[0]


def test_a_refused_setting_submits_nothing(world):
    world.slurm.change(refuse="Invalid partition name specified")
    with pytest.raises(ConfigError, match="Partitions: long, short"):
        world.run()
    assert not world.slurm.jobs


def test_a_mistake_that_is_found_late_leaves_no_job_behind(world):
    world.slurm.change(refuse="Requested node configuration is not available", room=1)
    with pytest.raises(ConfigError, match="Change its partition, cpus, mem_gb, gpus"):
        world.run()
    assert [job["state"] for job in world.slurm.jobs.values()] == ["CANCELLED"]
    assert world.folder.read_places() == {}


def test_a_controller_that_falls_silent_is_waited_for(world):
    world.each_look = lambda: world.slurm.change(silent=world.looks in (2, 3, 4))
    assert world.run() == ["done"] * 4
    assert sum("Slurm does not answer" in each for each in world.said) == 1


def test_a_controller_that_is_silent_from_the_start_is_an_error(world):
    world.slurm.change(refuse="Unable to contact slurm controller (connect failure)")
    with pytest.raises(OverwinterError, match="When it does, the same command goes on"):
        world.run()


@pytest.mark.parametrize("word", ["NODE_FAIL", "TIMEOUT", "PREEMPTED", "FAILED", "BOOT_FAIL"])
def test_a_lost_job_is_submitted_again_with_all_that_waits_for_it(world, word):
    world.ends = {"train": [word, "done"], "quantize": [word, "done", word, "done", "done", "done"]}
    assert world.run() == ["done"] * 4
    assert set(world.ran.values()) == {1}
    assert any(f"ended as {word} without a result. It is submitted again" in each for each in world.said)


def test_a_job_that_is_always_lost_fails_its_points_alone(world):
    world.ends = {"sparsify": ["NODE_FAIL", "done", "NODE_FAIL", "NODE_FAIL"]}
    assert sorted(world.run()) == ["done", "done", "failed", "failed"]


def test_a_cancelled_job_interrupts_its_points_and_the_same_command_goes_on(world):
    world.ends = {"sparsify": ["CANCELLED", "done"]}
    assert sorted(world.run()) == ["done", "done", "interrupted", "interrupted"]
    world.ends = {}
    assert world.run() == ["done"] * 4
    assert set(world.ran.values()) == {1}


def test_a_stage_that_fails_is_not_tried_by_points_that_share_it(world):
    world.ends = {"sparsify": ["failed", "done"]}
    assert sorted(world.run()) == ["done", "done", "failed", "failed"]
    messages = sorted({each.message for each in read_sweep(world.project, "s").points})
    assert messages[1] == "it is broken"
    assert messages[2].startswith("sparsify failed in point ")


def test_a_gate_that_refuses_refuses_all_points_that_share_it(world):
    world.ends = {"gate-train": "refused"}
    assert world.run() == ["refused"] * 4
    assert set(world.ran.values()) == {1}


def test_whoever_ends_the_command_ends_no_job_and_the_same_command_follows_them(world, monkeypatch):
    def detach(run):
        world.turn(run)
        run._detached = world.looks == 3

    monkeypatch.setattr(running._SlurmRun, "_wait", detach)
    assert world.run() == ["interrupted"] * 4
    places, jobs = world.folder.read_places(), set(world.slurm.jobs)
    assert places
    assert world.run() == ["done"] * 4
    assert set(world.ran.values()) == {1}
    assert set(world.slurm.jobs) == jobs  # nothing was submitted again


def test_an_end_that_nobody_followed_is_taken_up(world, monkeypatch):
    monkeypatch.setattr(running._SlurmRun, "_wait", lambda run: setattr(run, "_detached", True))
    world.ends = {"train": "failed"}
    assert world.run() == ["interrupted"] * 4
    places = {running.job_name(place): each for each, place in world.folder.read_places().items()}
    (job,) = world.slurm.waiting()
    world.end(job, places[job])
    assert world.run() == ["failed"] * 4


@pytest.mark.parametrize(("clock_s", "which"), [(3600.0, "ahead of"), (-3600.0, "behind")])
def test_clocks_that_differ_are_told_and_decide_nothing(world, clock_s, which):
    world.clock_s = clock_s
    assert world.run() == ["done"] * 4
    assert sum("the clock of n1 is at least 3" in each and which in each for each in world.said) == 1


def test_a_reason_to_wait_that_time_does_not_cure_is_told(world):
    def hold():
        for job in world.slurm.waiting():
            if world.looks == 1:
                world.slurm.set_state(job, "PENDING", "PartitionTimeLimit")

    world.each_look = hold
    world.alive = False
    inner = world.turn

    def turn(run):
        inner(run)
        world.alive = world.looks > 1

    world.turn = turn
    assert world.run() == ["done"] * 4
    assert "train waits in Slurm's queue: PartitionTimeLimit" in world.said


def test_a_spent_budget_cancels_what_is_left(world, monkeypatch):
    monkeypatch.setattr(running.Costs, "expected_j", lambda self, point, stage: 0.0)
    monkeypatch.setattr(running.Spending, "exceeded", lambda self: world.looks == 2)
    assert world.run(budget="1 J") == ["skipped"] * 4
    assert {job["state"] for job in world.slurm.jobs.values()} <= {"COMPLETED", "CANCELLED"}


def test_points_that_a_budget_does_not_hold_have_no_jobs(world, monkeypatch):
    monkeypatch.setattr(running.Costs, "expected_j", lambda self, point, stage: 1.0)
    assert world.run(budget="5 J") == ["done", "done", "skipped", "skipped"]  # 3 J and 1 J; the next needs 2 J


def test_points_of_different_budgets_are_refused(world, point):
    other = point("z", train="z")
    other.config.budget = SimpleNamespace(total="1 J")
    with pytest.raises(ConfigError, match="have different budgets"):
        world.run([*world.points.values(), other])
