"""Measurements have the device to themselves, in real processes; what waits says so, and pays nothing for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy import quiet
from overwinter.energy.quiet import QuietDevices, devices_of

# Writes when it works and when it measures; both take turns, at random, until the time is over.
_RUN = """
import contextlib, pathlib, random, sys, time
from overwinter.energy.quiet import QuietDevices
log, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
def write(what, begin_s):
    with log.open("a") as stream:
        stream.write(f"{what} {begin_s} {time.monotonic()}\\n")
end_s = time.monotonic() + float(sys.argv[3])
with QuietDevices(["cpu"], notify=print, stop=lambda: None) as devices:
    while time.monotonic() < end_s:
        begin_s = time.monotonic()
        time.sleep(chance.uniform(0, 0.02))
        write("work", begin_s)
        devices._looked_s = 0.0
        devices.give_way(contextlib.nullcontext)
        if chance.random() < 0.1:
            with devices.alone(contextlib.nullcontext):
                begin_s = time.monotonic()
                time.sleep(0.02)
                write("measure", begin_s)
"""


def _starts(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", *words])


def _spans(log: Path) -> list[tuple[str, float, float]]:
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(what, float(begin_s), float(end_s)) for what, begin_s, end_s in lines]


def test_no_work_overlaps_a_measurement_and_everyone_measures(tmp_path: Path) -> None:
    logs = [tmp_path / f"{seed}" for seed in range(3)]
    runs = [_starts(_RUN, str(log), str(seed), "3") for seed, log in enumerate(logs)]
    killed = _starts(_RUN, str(tmp_path / "killed"), "7", "60")
    time.sleep(2.0)
    killed.send_signal(signal.SIGKILL)  # wherever it is, it holds no one up
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    killed.wait()
    spans = [(who, *span) for who, log in enumerate(logs) for span in _spans(log)]
    for who, what, begin_s, end_s in spans:
        if what == "measure":
            assert not [each for each in spans if each[0] != who and each[2] < end_s and begin_s < each[3]]
    assert all("measure" in log.read_text() for log in logs)


_HOLDER = """
import contextlib, sys, time
from overwinter.energy.quiet import QuietDevices
with QuietDevices(["cpu"], notify=print, stop=lambda: None) as devices:
    with contextlib.ExitStack() as stack:
        if sys.argv[1] == "alone":
            stack.enter_context(devices.alone(contextlib.nullcontext))
        print("held", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(request: Any) -> Iterator[subprocess.Popen[str]]:
    """Another run, which shares the CPU or has it alone."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, request.param], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


class Waiting:
    """Stands for the meter's pause, and kills whoever is waited for at the second look."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        self.looks, self.entered, self.said, self._holder = 0, 0, list[str](), holder

    def stop(self) -> None:
        self.looks += 1
        if self.said:
            self._holder.kill()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.entered += 1
        yield


@pytest.mark.parametrize("holder", ["alone"], indirect=True)
def test_work_waits_for_a_measurement_and_says_so(holder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_SILENT_S", 0.1)
    waiting = Waiting(holder)
    with QuietDevices(["cpu"], notify=waiting.said.append, stop=waiting.stop) as devices:
        assert devices.waited_s >= 0.1
    assert waiting.said == ["waits for the other run's measurement"]


@pytest.mark.parametrize("holder", ["sharing"], indirect=True)
def test_a_measurement_waits_for_work_and_its_meter_is_paused(holder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_SILENT_S", 0.1)
    waiting = Waiting(holder)
    with QuietDevices(["cpu"], notify=waiting.said.append, stop=waiting.stop) as devices:
        with devices.alone(waiting.paused):
            devices.give_way(waiting.paused)  # a measurement's own steps
        assert waiting.entered == 1
        assert waiting.said == ["waits for the other runs to leave the device to its measurement"]
        with devices.alone(waiting.paused):
            assert waiting.entered == 1  # no one else is there: no wait, no pause


@pytest.mark.parametrize("holder", ["alone"], indirect=True)
@pytest.mark.usefixtures("holder")
def test_a_signal_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), QuietDevices(["cpu"], notify=print, stop=stop):
        pass


def test_without_a_folder_of_its_own_nothing_is_claimed_and_the_record_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    monkeypatch.setenv("OVERWINTER_QUIET", str(tmp_path / "file" / "quiet"))
    (tmp_path / "file").touch()
    with QuietDevices(["cpu"], notify=print, stop=lambda: None) as devices, devices.alone(contextlib.nullcontext):
        assert "other runs may disturb the measurements" in devices.trouble
    monkeypatch.delenv("OVERWINTER_QUIET")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # the folders are another user's
    assert "must be owned by this user" in QuietDevices(["cpu"], notify=print, stop=lambda: None).trouble
    monkeypatch.undo()
    monkeypatch.setattr("overwinter.energy.quiet.state_path", lambda *_: tmp_path / "link")
    assert "must be owned by this user" in QuietDevices(["cpu"], notify=print, stop=lambda: None).trouble


def test_work_on_the_cpu_claims_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_nvidia_gpus", lambda: ["GPU-1", "GPU-2"])
    assert devices_of("cpu") == ["cpu"]
    assert devices_of("cuda") == ["cpu", "GPU-1"]
    assert devices_of("cuda:1") == ["cpu", "GPU-2"]
    assert devices_of("auto") == ["cpu", "GPU-1", "GPU-2"]
    monkeypatch.setattr(quiet, "_nvidia_gpus", list)
    assert devices_of("cuda:1") == ["cpu", "gpu"]
