"""Sweeps on a real Slurm with one node, which is started for them: what is counted is the ledger's executions.

The stages are light: steps that sleep, with a checkpoint.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.slurm_cluster import cluster, missing

pytestmark = [
    pytest.mark.special,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no Slurm: {missing()}"),
]
pytest.importorskip("submitit")
BIN = Path(sys.executable).parent
PATIENCE_S = 400.0
LIGHT = Path(__file__).with_name("light_stage.py")
ON_SLURM = (
    "hydra/launcher=overwinter_slurm",
    "hydra.launcher.every.cpus=1",
    "hydra.launcher.every.mem_gb=1",
    "hydra.launcher.gates.mem_gb=1",
    "hydra.launcher.poll_s=0.5",
)


class Space:
    """A project, and a Slurm beside it."""

    def __init__(self, root, environment):
        self.runners = []
        self.root, self.env = root, {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}

    def __call__(self, *words, check=True):
        done = subprocess.run(words, cwd=self.root, env=self.env, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def sweep(self, *words, code=0):
        done = self("overwinter", "run", "-m", "--json", *ON_SLURM, *words, check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return [point["status"] for point in json.loads(done.stdout)["points"]], done.stderr

    def start(self, *words):
        runner = subprocess.Popen(
            ["overwinter", "run", "-m", *ON_SLURM, *words],
            cwd=self.root,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.runners.append(runner)
        return runner

    def executions(self, status):
        records = json.loads(self("overwinter", "ledger", "--json", "--status", status).stdout)["executions"]
        each = Counter((record["stage"], record["configuration_key"]) for record in records)
        assert status != "done" or set(each.values()) <= {1}, each
        return Counter(stage for stage, _ in each)

    def jobs(self, *words):
        return self("squeue", "--noheader", "--array", "--format=%i %T %j", *words).stdout.splitlines()

    def running(self, stage):
        """Return the job that runs a stage, once it has begun its steps."""
        wait_for(lambda: self.executions("running")[stage])
        time.sleep(1.0)
        return next(line.split()[0] for line in self.jobs("--states=running") if line.endswith(f"-{stage}"))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.3)
    raise AssertionError("it never happened")


@pytest.fixture(scope="module")
def slurm():
    with cluster() as environment:
        yield environment


@pytest.fixture(scope="module")
def made(tmp_path_factory, slurm):
    space = Space(tmp_path_factory.mktemp("real"), slurm)
    space("overwinter", "init", "project")
    space.root = space.root / "project"
    for stage in ("train", "sparsify", "quantize"):
        shutil.copy(LIGHT, space.root / "stages" / f"{stage}.py")
    space("overwinter", "compose")
    space("git", "add", "-A")
    space("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start")
    return space.root


@pytest.fixture
def space(made, slurm, tmp_path):
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    own = Space(tmp_path / "project", slurm)
    yield own
    for runner in own.runners:
        runner.kill()
        runner.communicate()
    subprocess.run(["scancel", "--user=root"], env={**os.environ, **slurm}, check=False)


def test_each_distinct_stage_of_a_sweep_is_one_job(space):
    words = ("train.epochs=1", "sparsify.amount=0.5,0.6,0.7", "--until", "sparsify")
    statuses, said = space.sweep(*words, "--name", "grid")
    assert statuses == ["done"] * 3
    assert space.executions("done") == {"train": 1, "sparsify": 3}
    assert "Slurm's accounting has no figure: Slurm accounting storage is disabled" in said
    jobs = json.loads((space.root / ".overwinter/sweeps/grid/slurm/accounting.json").read_text())["jobs"]
    assert len(jobs) == 4
    assert all(each["energy_j"] > 0 and each["slurm_energy_j"] is None for each in jobs.values())
    assert not space.jobs()
    listed = json.loads(space("dvc", "exp", "show", "--json").stdout)
    assert len(listed[1]["experiments"]) == 3


def test_a_job_that_is_cancelled_goes_on_from_its_checkpoint_with_the_same_command(space):
    words = ("train.epochs=1,8", "--until", "train", "--name", "cancelled")
    runner = space.start(*words)
    wait_for(lambda: space.executions("done")["train"] == 1)
    space("scancel", space.running("train"))
    _, said = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == 130, said
    assert "ended as CANCELLED without a result. The same command goes on." in said
    assert space.executions("interrupted") == {"train": 1}
    statuses, _ = space.sweep(*words)
    assert statuses == ["done", "done"]
    assert space.executions("done") == {"train": 2}
    assert resumed(space)


def resumed(space):
    """Return whether a finished training had a checkpoint of an earlier one."""
    records = json.loads(space("overwinter", "ledger", "--json", "--status", "done").stdout)["executions"]
    return any(record["resumed_j"] > 0 for record in records)


@pytest.mark.timeout(1200)  # Slurm counts in minutes
def test_a_job_at_its_time_limit_goes_on_in_the_queue(space):
    limit = ("hydra.launcher.stages.train.time_min=1", "hydra.launcher.grace_s=15")
    statuses, _ = space.sweep("train.epochs=50", "seed=0,0", *limit, "--until", "train", "--name", "limited")
    assert set(statuses) == {"done"}
    assert space.executions("done") == {"train": 1}
    assert space.executions("interrupted")["train"] >= 1
    assert resumed(space)


def test_a_node_that_dies_costs_nothing_that_was_finished(space, slurm):
    words = ("train.epochs=1,8", "--until", "train", "--name", "died")
    runner = space.start(*words)
    wait_for(lambda: space.executions("done")["train"] == 1)
    space.running("train")
    node = space("sinfo", "--noheader", "--format=%n").stdout.strip()
    space("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    time.sleep(2.0)
    space("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # it may be back by itself
    _, said = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == 0, said
    assert space.executions("done") == {"train": 2}


def test_a_job_that_is_pre_empted_goes_on_from_its_checkpoint_by_itself(space):
    runner = space.start("train.epochs=8", "seed=0,0", "--until", "train", "--name", "requeued")
    space("scontrol", "requeue", space.running("train"))
    _, said = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == 0, said
    assert space.executions("done") == {"train": 1}
    assert space.executions("interrupted") == {"train": 1}
    assert resumed(space)


def test_the_command_may_end_and_follow_its_jobs_again(space):
    words = ("train.epochs=4,5", "--until", "train", "--name", "followed")
    runner = space.start(*words)
    space.running("train")
    os.kill(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=PATIENCE_S) == 130
    assert space.jobs()
    statuses, _ = space.sweep(*words)
    assert statuses == ["done", "done"]
    assert space.executions("done") == {"train": 2}
    assert not space.executions("interrupted")


def test_a_missing_partition_and_a_gpu_too_many_are_refused_at_once(space):
    for setting, said in (
        ("hydra.launcher.every.partition=fast", "Change its partition. Partitions: main."),
        ("hydra.launcher.stages.train.gpus=9", "Change its partition, cpus, mem_gb, gpus."),
    ):
        done = space("overwinter", "run", "-m", *ON_SLURM, setting, "seed=1,2", "--until", "train", check=False)
        assert done.returncode == 2
        assert said in done.stderr
    assert not space.jobs()
