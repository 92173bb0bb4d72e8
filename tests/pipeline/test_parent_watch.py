"""The stage is a real process under a real ancestor called `dvc`; killing the ancestor must end it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

_STAGE = """
import os, subprocess, sys, time
from overwinter.pipeline.parent_watch import watch_parent
watch_parent()
worker = subprocess.Popen(["sleep", "60"])
print(os.getpid(), worker.pid, flush=True)
time.sleep(60)
"""
_STARTER = """
import os, subprocess, sys
os.environ.update(DVC_STAGE="train", **dict(word.split("=") for word in sys.argv[2:]))
subprocess.run(["/bin/sh", "-c", f"'{sys.executable}' -c '{sys.argv[1]}'; true"], check=False)
"""


def _started(tmp_path, *environment):
    dvc = tmp_path / "dvc"
    dvc.write_text(_STARTER)
    starter = subprocess.Popen(
        [sys.executable, str(dvc), _STAGE.replace("\n", "\n"), *environment],
        stdout=subprocess.PIPE,
        text=True,
    )
    return starter, starter.stdout.readline().split()


def _gone(pids, within_s=3.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_a_stage_ends_with_the_dvc_that_started_it_and_takes_its_children_along(tmp_path):
    starter, response = _started(tmp_path)
    pids = [int(word) for word in response]
    assert len(pids) == 2
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert _gone(pids)


def test_a_stage_whose_run_is_gone_does_not_start(tmp_path):
    starter, response = _started(tmp_path, "OVERWINTER_RUN_PID=999999999")
    starter.wait()
    starter.stdout.close()
    assert response == []


def test_a_stage_started_by_hand_is_left_alone():
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    code = (
        "import threading; from overwinter.pipeline.parent_watch import watch_parent; "
        "watch_parent(); print(threading.active_count())"
    )
    response = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert response.stdout == "1\n"


@pytest.mark.parametrize(("given", "expected"), [("abc", "abc"), (None, "hand-")])
def test_the_run_has_a_name(monkeypatch, given, expected):
    from overwinter.pipeline import parent_watch

    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv(parent_watch.RUN_ID, raising=False)
    if given:
        monkeypatch.setenv(parent_watch.RUN_ID, given)
    assert parent_watch.run_id().startswith(expected)
