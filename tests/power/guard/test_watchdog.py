"""The watchdog program by itself: independent of the run, quick to start, silent when it is not needed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overwinter.errors import OverwinterError
from overwinter.power.guard.journal import Slot, boot_id
from overwinter.power.guard.watchdog_process import _PROGRAM, Watchdog


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    """A setting that a run has changed from 300 W to 150 W."""
    folder, file = tmp_path / "toy.power", tmp_path / "limit_uw"
    folder.mkdir()
    file.write_text("150000000")
    command = {"kind": "file", "path": str(file), "limit_uw": 300_000_000, "ours_mw": [150_000]}
    journal = {"device": "toy", "boot_id": boot_id(), "previous": 300, "commands": [command]}
    (folder / "journal.json").write_text(json.dumps(journal))
    return Slot(str(folder))


def _limit_w(slot: Slot) -> float:
    """Return the limit in the file; NaN at the moment in which the watchdog has emptied it to write."""
    text = (Path(slot.folder).parent / "limit_uw").read_text()
    return int(text) / 1e6 if text else math.nan


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])


def _watch(pid: int, slot: Slot) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(_PROGRAM), str(pid), "some-run", slot.folder]
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert watchdog.stdout is not None
    with watchdog.stdout as reported:
        assert reported.readline() == b"ready\n"
    assert watchdog.wait(5) == 0  # the launcher; the watchdog itself is not a child of this process
    return watchdog


def _released(watchdog: subprocess.Popen[bytes], word: bytes = b"") -> None:
    assert watchdog.stdin is not None
    with watchdog.stdin as stdin:
        stdin.write(word)


def test_restores_when_the_run_ends(slot: Slot, wait_for: Any) -> None:
    run = _sleeper()
    watchdog = _watch(run.pid, slot)
    assert not wait_for(lambda: _limit_w(slot) == 300, 0.2)
    run.kill()
    assert wait_for(lambda: _limit_w(slot) == 300, 2)
    run.wait()
    _released(watchdog)


def test_restores_also_if_the_run_had_closed_its_pipe(slot: Slot, wait_for: Any) -> None:
    run = _sleeper()
    _released(_watch(run.pid, slot))
    assert not wait_for(lambda: _limit_w(slot) == 300, 0.2)
    run.kill()
    assert wait_for(lambda: _limit_w(slot) == 300, 2)
    run.wait()


def test_changes_nothing_when_it_is_dismissed(slot: Slot, wait_for: Any) -> None:
    run = _sleeper()
    _released(_watch(run.pid, slot), b"q")
    run.kill()
    run.wait()
    assert not wait_for(lambda: _limit_w(slot) == 300, 0.3)


def test_keeps_a_setting_that_another_run_holds(slot: Slot, wait_for: Any) -> None:
    run = _sleeper()
    watchdog = _watch(run.pid, slot)
    handle = slot.hold("another-run")
    run.kill()
    run.wait()
    assert not wait_for(lambda: _limit_w(slot) == 300, 0.3)
    os.close(handle)
    _released(watchdog)


def test_run_that_is_gone_already_is_restored_at_once(slot: Slot, wait_for: Any) -> None:
    run = _sleeper()
    run.kill()
    run.wait()
    watchdog = _watch(run.pid, slot)
    assert wait_for(lambda: _limit_w(slot) == 300, 2)
    _released(watchdog)


def test_watchdog_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("overwinter.power.guard.watchdog_process._PROGRAM", tmp_path / "none.py")
    with pytest.raises(OverwinterError, match="No limit was set"):
        Watchdog("some-run", [])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(OverwinterError, match="No limit was set"):
        Watchdog("some-run", [])


def test_imports_nothing_but_the_standard_library_and_its_own_two_modules() -> None:
    program = (
        "import sys; sys.path.append(sys.argv[1]); import watchdog, journal, restore_commands;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('overwinter', 'pathlib', 'typing')])"
    )
    command = [sys.executable, "-I", "-S", "-c", program, str(_PROGRAM.parent)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
