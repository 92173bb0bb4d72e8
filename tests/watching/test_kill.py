"""A script that is killed, or ends in any other way, leaves a truthful ledger entry and the limits that it found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overwinter.power.actuators.simulated import ROOT_VARIABLE, SimulatedLimit

SCRIPT = """
import sys, time
import overwinter

with overwinter.watch(
    budget=sys.argv[2],
    power="static",
    overrides=["power.actuator=simulated", "power.limit=50 %", "power.on_denied=fail"],
    name="fit",
    checkpoint=lambda: print("saved", flush=True),
) as run:
    for step in run.steps(range(100_000)):
        time.sleep(0.002)
        if step == 5:
            print("at work", flush=True)
        if sys.argv[1] == "raise" and step == 50:
            raise ValueError("loss is nan")
"""
FREE_UW = 300_000_000


@pytest.fixture
def limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the limit of a simulated device, which the script halves."""
    monkeypatch.setenv(ROOT_VARIABLE, str(folder / "devices"))
    monkeypatch.setenv("OVERWINTER_POWER_STATE", str(folder / "state"))
    return SimulatedLimit.make(folder / "devices", "sim:0", minimum_w=100.0, maximum_w=300.0, limit_w=300.0)


def started(way: str, budget: str = "1 h") -> subprocess.Popen[str]:
    """The script, with its steps begun."""
    command = [sys.executable, "-c", SCRIPT, way, budget]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def restored(limit: Path) -> bool:
    """Whether the limit is what it was; a watchdog may need a moment."""
    end_s = time.monotonic() + 10
    while limit.read_text() != str(FREE_UW) and time.monotonic() < end_s:
        time.sleep(0.05)
    return limit.read_text() == str(FREE_UW)


@pytest.mark.parametrize(
    ("way", "status", "exit_code", "saves"),
    [
        (signal.SIGKILL, "killed", -signal.SIGKILL, False),
        (signal.SIGTERM, "interrupted", 128 + signal.SIGTERM, True),
        (signal.SIGINT, "interrupted", -signal.SIGINT, True),
        ("raise", "failed", 1, False),
        ("budget", "refused", 1, True),
    ],
)
def test_the_ledger_tells_how_it_ended_and_the_limit_is_restored(
    executions, limit: Path, way: str | int, status: str, exit_code: int, saves: bool
):
    process = started(str(way), "1.5 s" if way == "budget" else "1 h")
    if isinstance(way, int):
        assert limit.read_text() == str(200_000_000)  # 50 % of the range
        time.sleep(1.2)  # past a heartbeat
        os.kill(process.pid, way)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert restored(limit)
    (entry,) = executions()
    assert entry.status == status
    assert entry.energy_j is not None
    assert entry.energy_j > 0
    assert entry.total == 100_000
    assert 0 < entry.done < 100_000
    assert ("saved" in said) is saves
