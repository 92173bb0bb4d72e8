"""What a stage has finished is paid for once: after any kill, in any tree, counted from the ledger."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from overwinter.ledger import Filter, Ledger
from overwinter.pipeline.locks import repair_dvc_lock, repair_dvc_rwlock

# A stage whose work is a number from the seed, and which can be killed with its dvc at the moments that matter.
TINY = """
import json, os, signal, time
from overwinter.ledger import Execution
from overwinter.pipeline import run_stage
from overwinter.pipeline.stage import Stage

def killed(moment):
    if os.environ.get("KILLED") == moment:
        os.killpg(0, signal.SIGKILL)

def before(moment, function):
    def call(*words, **names):
        killed(moment)
        return function(*words, **names)
    return call

Stage.publish = before("kept", Stage.publish)
Execution.finish = before("published", Execution.finish)

def main(stage):
    checkpoint = stage.checkpoints / "step"
    stage.checkpoints.mkdir(parents=True, exist_ok=True)
    checkpoint.touch()
    time.sleep(float(os.environ.get("SECONDS", "0")))
    (stage.out() / "number").write_text(f"{stage.config.seed} {os.urandom(8).hex()}")
    stage.save_metrics({"headline": "accuracy", "measures": {"accuracy": 1.0}})

if __name__ == "__main__":
    try:
        run_stage("train", main)
    finally:
        killed("ended")
"""


@pytest.fixture
def tiny(fresh):
    """A project whose training takes no time; everything up to its gate is run by a plain `dvc repro`."""
    (fresh.root / "stages/train.py").write_text(TINY)
    fresh("git", "add", "-A")
    fresh("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "tiny")
    return fresh


def _executions(space):
    return Ledger.open(space.root / ".overwinter/ledger.sqlite").executions(Filter(stage="train"))


def _leftovers(space):
    state = space.root / ".overwinter"
    return [path for name in ("finished", "checkpoints") for path in state.joinpath(name).glob("*")]


def _killed_at(space, moment):
    runner = space.start("dvc", "repro", "gate-train", KILLED=moment)
    assert runner.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["kept", "published", "ended"])
def test_a_finished_stage_that_dvc_did_not_commit_is_not_run_again(tiny, moment):
    _killed_at(tiny, moment)
    tiny("dvc", "repro", "gate-train")
    [execution] = _executions(tiny)
    assert execution.status == "done"
    assert execution.exit_code == 0
    assert tiny.json("train/energy.json")["execution"] == execution.id
    assert not json.loads(tiny("overwinter", "ledger", "--json", "--wasted").stdout)["executions"]
    assert _leftovers(tiny) == []


def test_a_changed_program_is_run_again(tiny):
    _killed_at(tiny, "ended")
    (tiny.root / "stages/train.py").write_text(TINY + "\n# changed\n")
    tiny("dvc", "repro", "gate-train")
    assert [each.status for each in _executions(tiny)] == ["done", "done"]
    assert _leftovers(tiny) == []


def test_a_stage_that_is_forced_is_run_again(tiny):
    tiny("dvc", "repro", "train")  # no gate removes what it kept
    tiny("dvc", "repro", "--force", "--single-item", "train")
    assert [each.status for each in _executions(tiny)] == ["done", "done"]


@pytest.mark.slow
def test_however_often_it_is_killed_no_finished_work_is_paid_for_twice(tiny):
    """The moments are drawn from the time around the stage's end, which differs from run to run."""
    random.seed(1)
    for _ in range(10):
        runner = tiny.start("dvc", "repro", "gate-train", SECONDS="0.3")
        _wait_for(lambda: _begun(tiny) or runner.poll() is not None)  # noqa: B023 - called in this round only
        time.sleep(random.uniform(0.0, 2.5))
        if runner.poll() is None:
            os.killpg(runner.pid, signal.SIGKILL)
        if runner.wait(timeout=60) == 0:
            tiny("overwinter", "compose", f"seed={random.randrange(10**6)}")
        repair_dvc_rwlock(tiny.root)
        repair_dvc_lock(tiny.root)
    tiny("dvc", "repro", "gate-train")
    done = [each for each in _executions(tiny) if each.status == "done"]
    assert len({each.configuration_key for each in done}) == len(done)
    assert tiny.json("train/energy.json")["execution"] == done[-1].id
    assert _leftovers(tiny) == []


def _begun(space):
    return any(each.status == "running" for each in _executions(space))


def _wait_for(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


@pytest.mark.slow
def test_trees_at_work_at_the_same_time_do_not_lock_each_other_out(tiny):
    """Two points of DVC's queue need the same training: one does it, the other waits for its result."""
    for amount in ("0.25", "0.75"):
        tiny("dvc", "exp", "run", "--queue", "-S", f"sparsify.amount={amount}", "gate-train")
    tiny("dvc", "queue", "start", "-j", "2", SECONDS="2")
    try:
        _wait_for(lambda: len(_succeeded(tiny)) == 2)
    finally:
        tiny("dvc", "queue", "stop", "--kill")
    assert [each.status for each in _executions(tiny)] == ["done"]


def _succeeded(space):
    lines = subprocess.run(
        ["dvc", "queue", "status"], cwd=space.root, env=space.env, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if "Success" in line]
