"""Workers in containers: of a stand-in for the engine, and of podman where it runs."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overwinter.serving.worker import container_worker
from overwinter.serving.worker.records import PARK, Question
from overwinter.serving.worker.worker_process import WorkerDied
from overwinter.serving.worker.worker_start import start_worker
from tests.support.workers import wake_order

WAKE = wake_order("b", "")
QUESTION = Question(operation="infer", headers={}, model="m", within_s=10.0)
STAND_IN = Path(__file__).parents[1] / "stand_in_worker.py"
ENGINE = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> log
action=$1; shift
for word in "$@"; do case $word in --name=*) name=${word#--name=};; esac; done
case $action in
    run) while [ "$1" != image ]; do shift; done; shift; echo $$ > "$name"; exec "$@";;
    pause) kill -STOP "$(cat "$1")";;
    unpause) kill -CONT "$(cat "$1")";;
    kill) kill -KILL "$(cat "$1")";;
    ps) echo "left 999999999"; echo "mine $PPID";;
esac
"""


@pytest.fixture
def engine(tmp_path):
    program = tmp_path / "podman"
    program.write_text(ENGINE)
    program.chmod(0o755)
    (tmp_path / "note").touch()
    return program


@pytest.fixture
def launcher(engine, tmp_path):
    return [str(engine), "run", "--network=none", "image", sys.executable, str(STAND_IN), str(tmp_path / "note")]


def message(engine):
    return [line.split() for line in (engine.parent / "log").read_text().splitlines()]


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def paused_soon(pid):
    """Whether it stops: a signal takes its time on a busy machine."""
    for _ in range(500):
        if state_of(pid) == "T":
            return True
        await asyncio.sleep(0.01)
    return False


def test_a_parked_container_is_paused_until_something_is_asked(engine, launcher):
    async def live():
        worker = await start_worker("onnxruntime", trusted=(), launcher=launcher)
        assert (await worker.ask(WAKE, within_s=10)).header["status"] == "ready"
        assert (await worker.ask(PARK, within_s=10)).header["status"] == "parked"
        paused = await paused_soon(worker.pid)
        frame = await worker.ask(QUESTION, b"hello", within_s=10)
        awake = state_of(worker.pid)
        await worker.ask(PARK, within_s=10)
        await worker.stop(within_s=10)  # it must be resumed to leave
        return paused, frame.body, awake, worker.alive

    paused, body, awake, alive = asyncio.run(live())
    assert (paused, body, alive) == (True, b"echo hello", False)
    assert awake in "SR"
    swept, removed, run, *others = message(engine)
    assert (swept[:2], removed) == (["ps", "--all"], ["rm", "--force", "left"])
    assert run[:3] == ["run", "--rm", "--interactive"]
    assert run[5:7] == ["--network=none", "image"]
    assert run[-5:-2] == ["python", "-P", "-c"] or run[-1] == "onnxruntime"
    assert [words[0] for words in others] == ["pause", "unpause", "pause", "unpause"]
    assert {words[1] for words in others} == {run[3].removeprefix("--name=")}


def test_one_that_does_not_leave_is_killed_with_its_container(engine, launcher):
    async def live():
        worker = await start_worker("onnxruntime", trusted=(), launcher=launcher)
        with pytest.raises(WorkerDied, match="did not respond"):
            await worker.ask(QUESTION, b"sleep 60", within_s=0.5)
        return worker.alive

    assert asyncio.run(live()) is False
    assert message(engine)[-1][0] == "kill"


def test_an_engine_that_is_not_there_is_no_worker(tmp_path):
    with pytest.raises(WorkerDied, match="cannot be started"):
        asyncio.run(start_worker("torch", trusted=(), launcher=[str(tmp_path / "podman"), "run", "image"]))
    assert not container_worker.is_container(["nice", "-n", "5"])


@pytest.mark.special
def test_podman_starts_pauses_wakes_and_stops_a_worker(podman, tmp_path):
    words, run = podman
    (tmp_path / "note").touch()
    shared = [f"--volume={tmp_path / 'note'}:{tmp_path / 'note'}", f"--volume={STAND_IN}:{STAND_IN}:ro"]
    launcher = [*run, *shared, "empty", "python", str(STAND_IN), str(tmp_path / "note")]

    def states():
        shown = subprocess.run([*words, "ps", "--all", "--format=json"], check=True, capture_output=True, text=True)
        return [container["State"] for container in json.loads(shown.stdout or "[]")]

    async def live():
        seen = []
        worker = await start_worker("onnxruntime", trusted=(), launcher=launcher)
        await worker.ask(WAKE, within_s=30)
        seen.append(states())
        await worker.ask(PARK, within_s=30)
        seen.append(states())
        begin_s = time.perf_counter()
        frame = await worker.ask(QUESTION, b"hello", within_s=30)
        print(f"asked when paused: {time.perf_counter() - begin_s:.3f} s")
        seen.append(states())
        await worker.ask(PARK, within_s=30)
        await worker.stop(within_s=30)
        return frame.body, [*seen, states()]

    body, seen = asyncio.run(live())
    assert body == b"echo hello"
    assert seen == [["running"], ["paused"], ["running"], []]
