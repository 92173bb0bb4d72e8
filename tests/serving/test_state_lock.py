"""One folder, one server."""

import os
import subprocess
import sys

import pytest

from overwinter.errors import OverwinterError
from overwinter.serving.state_lock import locked

HOLD = "import sys, time; from overwinter.serving.state_lock import locked\n"
HOLD += "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"


def test_without_a_folder_there_is_nothing_to_hold():
    with locked(None):
        pass


def test_a_second_server_is_reported_who_holds_it(tmp_path):
    state = str(tmp_path / "state")
    with locked(state), pytest.raises(OverwinterError, match=f"process {os.getpid()}"), locked(state):
        pass
    with locked(state):
        pass
    assert (tmp_path / "state" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_server_that_was_killed_holds_it_no_longer(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OverwinterError, match="another server"), locked(str(tmp_path)):
            pass
        holder.kill()
        holder.wait()
        with locked(str(tmp_path)):
            pass


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OverwinterError, match=r"serve\.state"), locked(str(tmp_path / "file" / "state")):
        pass


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OverwinterError, match="No locks available"), locked(str(tmp_path)):
        pass
