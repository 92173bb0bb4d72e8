"""What a job does on its node, without DVC: `RunningDvc` is pretended."""

import os
import signal
from types import SimpleNamespace

import pytest

from overwinter.pipeline.reproduce import Reproduction
from overwinter.slurm import task
from overwinter.slurm.state import SlurmFolder
from overwinter.slurm.task import ProgramTask, SubmittedPoint, SubmittedSweep
from overwinter.sweep.repository import find_repository
from overwinter.sweep.trees import make_tree

submitit = pytest.importorskip("submitit")


class PretendedDvc:
    """Ends as the test says; notes what it was called with, and which signals it would have ignored."""

    def __init__(self, project, *, run_id, log, targets, environment):
        self.outcome = lambda: Reproduction(run_id=run_id, log=log, **PretendedDvc.ends.pop(0))
        ignored = {each for each in (signal.SIGTERM, signal.SIGUSR2) if signal.getsignal(each) == signal.SIG_IGN}
        PretendedDvc.calls.append(SimpleNamespace(root=project.root, targets=targets, ignored=ignored, **environment))
        PretendedDvc.interrupts = 0

    def has_ended(self):
        PretendedDvc.running()
        return True

    def events(self):
        return iter(())

    def interrupt(self):
        PretendedDvc.interrupts += 1

    def kill(self):
        """Nothing runs."""


@pytest.fixture
def made(project, point, monkeypatch):
    """Make the task of a program of two points, after whose programs DVC ends as given."""
    repository = find_repository(project)
    source = make_tree("source-s", project, repository, cache=project.root)
    folder = SlurmFolder(path=project.state / "sweeps" / "s" / "slurm")
    sweep = SubmittedSweep(name="s", folder=folder, source=source, cache=project.root, repository=repository)
    points = [point(name, train="a") for name in "xy"]
    for each in points:
        folder.params(each.name).parent.mkdir(parents=True, exist_ok=True)
        folder.params(each.name).write_text(each.params)
    monkeypatch.setattr(task, "RunningDvc", PretendedDvc)
    monkeypatch.setattr(task, "validate", lambda text: None)
    monkeypatch.setattr(task, "render_dvc_yaml", lambda config, project: "")
    monkeypatch.setattr(task.Tree, "prepare", lambda self, params, config, dvc_yaml: None)
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def make(*ends, saves=True):
        PretendedDvc.ends, PretendedDvc.calls, PretendedDvc.running = list(ends), [], lambda: None
        submitted = [SubmittedPoint(name=each.name, overrides=each.overrides, keys=dict(each.keys)) for each in points]
        program = ProgramTask(
            sweep,
            id_="gate-train-1",
            name="gate-train",
            points=submitted if saves else submitted[:1],
            saves=saves,
            cpus=2,
        )
        return program, folder, repository

    return make


def test_a_program_that_points_end_with_saves_each_of_them(made):
    program, folder, repository = made({"ran": ["check", "train"]}, {"ran": []})
    program()
    ended = folder.ended("gate-train-1")
    assert (ended.status, ended.job, ended.ran) == ("done", "7_3", ("train",))
    assert [each.name for each in ended.points] == ["x", "y"]
    assert all(repository.experiment(each.experiment) for each in ended.points)
    assert ended.run_id.startswith("s/")
    assert ended.run_id.endswith("-job7_3")
    first, second = PretendedDvc.calls
    assert (first.DVC_EXP_NAME, second.DVC_EXP_NAME) == ("point-x", "point-y")
    assert first.root == second.root
    assert first.targets == ["gate-train"]
    assert first.ignored == {signal.SIGTERM, signal.SIGUSR2}
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_program_in_the_middle_saves_no_point(made):
    program, folder, repository = made({"ran": ["train"]}, saves=False)
    program()
    assert folder.ended("gate-train-1").points == ()
    assert repository.experiment("point-x") is None


@pytest.mark.parametrize(("code", "status"), [(1, "failed"), (3, "refused")])
def test_a_failure_is_written_and_nothing_behind_it_starts(made, code, status):
    program, folder, _ = made({"exit_code": code, "failed": "train", "message": "train: it is broken"})
    with pytest.raises(SystemExit) as end:
        program()
    assert end.value.code == 3
    ended = folder.ended("gate-train-1")
    assert (ended.status, ended.failed, ended.message) == (status, "train", "train: it is broken")


def test_a_dvc_that_dies_starts_once_more_in_a_new_tree(made):
    program, folder, _ = made({"exit_code": 1}, {}, {})
    program()
    assert folder.ended("gate-train-1").status == "done"
    assert len(PretendedDvc.calls) == 3
    program, folder, _ = made({"exit_code": 1}, {"exit_code": 1, "message": "dvc died"})
    with pytest.raises(SystemExit):
        program()
    assert folder.ended("gate-train-1").message == "dvc died"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_stage_and_leaves_no_record(made, number):
    program, folder, _ = made({"exit_code": 130, "failed": "train", "message": "train was interrupted"})
    PretendedDvc.running = lambda: signal.raise_signal(number)
    with pytest.raises(SystemExit) as end:
        program()
    assert end.value.code == 130
    assert folder.ended("gate-train-1") is None
    assert PretendedDvc.interrupts == 1
    assert len(PretendedDvc.calls) == 1


def test_at_its_time_limit_the_same_program_goes_back_into_the_queue(made):
    program, folder, _ = made()
    again = program.checkpoint()
    assert isinstance(again.function, ProgramTask)
    assert again.function is not program
    assert folder.ended("gate-train-1") is None


def test_a_time_limit_that_was_reached_too_often_is_a_failure(made, monkeypatch):
    program, folder, _ = made()

    def limit():
        raise submitit.core.utils.UncompletedJobError("timed-out too many times")

    monkeypatch.setattr(program, "_outcome", limit)
    with pytest.raises(SystemExit):
        program()
    assert "Raise its time_min" in folder.ended("gate-train-1").message


def test_two_jobs_on_a_node_have_a_tree_each(made):
    one, _, _ = made()
    with one._claimed() as first, one._claimed() as second:
        assert first != second
    with one._claimed() as third:
        assert third == first
