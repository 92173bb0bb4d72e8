"""What sbatch is asked for."""

import pytest

from overwinter.config.groups.slurm import Resources, SlurmSettings
from overwinter.errors import ConfigError
from overwinter.slurm.arrays import next_arrays
from overwinter.slurm.programs import make_programs
from overwinter.slurm.queue import QueueFullError
from overwinter.slurm.state import SlurmFolder
from overwinter.slurm.submitting import Submitter
from overwinter.slurm.task import SubmittedSweep
from overwinter.sweep.repository import find_repository
from overwinter.sweep.trees import make_tree
from tests.slurm.test_programs import nothing

pytest.importorskip("submitit")
SETTINGS = SlurmSettings(
    every=Resources(time_min=60, cpus=4, mem_gb=0.5, gpus=0, options={"account": "physics"}),
    gates=Resources(time_min=5, cpus=1),
    stages={"train": Resources(gpus=2, partition="long", options={"constraint": "a100"})},
    workers=3,
    grace_s=77,
)


@pytest.fixture
def sweep(project):
    repository = find_repository(project)
    source = make_tree("source-s", project, repository, cache=project.root)
    folder = SlurmFolder(path=project.state / "sweeps" / "s" / "slurm")
    return SubmittedSweep(name="s", folder=folder, source=source, cache=project.root, repository=repository)


def everything(submitter, points):
    programs, places = make_programs(points, ended=(), is_done=nothing), {}
    while arrays := next_arrays(programs, places, largest=100):
        for array in arrays:
            places |= submitter.submit(array, places)
    return programs, places


def test_each_stage_asks_for_its_own_and_gates_for_no_gpu(slurm, sweep, point):
    points = [point(name, train="a", sparsify=name) for name in "xyz"]
    programs, places = everything(Submitter(sweep, SETTINGS, begin_s=600), points)
    assert set(places) == set(programs)
    train, gate, sparsify, last = slurm.read()["scripts"]
    assert [each["job-name"] for each in (train, gate, sparsify, last)] == [
        f"overwinter-s-{name}" for name in ("train", "gate-train", "sparsify", "gate-sparsify")
    ]
    asked = ("gpus-per-node", "partition", "time", "cpus-per-task", "mem", "account", "constraint")
    assert [train.get(each) for each in asked] == ["2", "long", "60", "4", "512M", "physics", "a100"]
    assert [gate.get(each) for each in asked] == [None, None, "5", "1", "512M", "physics", None]
    assert [sparsify.get(each) for each in asked] == [None, None, "60", "4", "512M", "physics", None]
    assert [each.get("begin") for each in (train, gate, sparsify, last)] == ["now+600", None, None, None]
    assert [each.get("dependency") for each in (train, gate, sparsify, last)] == [
        None,
        "afterok:1",
        "afterok:2",
        "aftercorr:3",
    ]
    assert [each.get("array") for each in (gate, sparsify, last)] == [None, "0-2%3", "0-2%3"]
    assert all("requeue" in each and each["kill-on-invalid-dep"] == "yes" for each in (train, gate, sparsify, last))
    assert train["signal"] == "USR2@77"


def test_resources_are_those_of_every_job_unless_a_stage_says_otherwise():
    assert SETTINGS.resources("quantize") == SETTINGS.every
    assert SETTINGS.resources(None) == Resources(time_min=5, cpus=1, mem_gb=0.5, gpus=0, options={"account": "physics"})


def test_what_slurm_refuses_is_found_before_anything_is_submitted(slurm, sweep, point):
    slurm.change(refuse="Invalid generic resource (gres) specification")
    programs = make_programs([point("x", train="a")], ended=(), is_done=nothing)
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.gates: .* Change its gpus"):
        Submitter(sweep, SETTINGS).check(programs)
    assert not slurm.jobs


def test_a_refused_array_is_an_error_in_words(slurm, sweep, point):
    slurm.change(refuse="Batch job submission failed: AssocMaxSubmitJobLimit")
    with pytest.raises(QueueFullError, match="AssocMaxSubmitJobLimit"):
        everything(Submitter(sweep, SETTINGS), [point("x", train="a")])
