import os
import signal
import subprocess
import sys

import pytest

from overwinter.errors import OverwinterError
from overwinter.pipeline import locks

_HOLDER = """
import pathlib, sys, time
from overwinter.pipeline.locks import locked
with locked(pathlib.Path(sys.argv[1]), what="outputs/train"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.2)
    with (
        pytest.raises(OverwinterError, match=f"process {holder.pid}"),
        locks.locked(tmp_path / "lock", what="outputs/train"),
    ):
        pass


def test_a_killed_holder_lets_go(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    with locks.locked(tmp_path / "lock", what="outputs/train"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
