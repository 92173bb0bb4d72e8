"""Restore commands: the kinds that the guard's own tests do not cover."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from overwinter.power.guard.restore_commands import perform, zeusd


def _program(text: str) -> dict[str, Any]:
    return {"kind": "program", "argv": [sys.executable, "-S", "-c", text]}


def test_program_of_a_third_party(tmp_path: Path) -> None:
    target = tmp_path / "restored"
    assert perform(_program(f"open({str(target)!r}, 'w').close()")) is None
    assert target.exists()


def test_program_that_fails_or_takes_too_long_or_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.power.guard.restore_commands._PROGRAM_TIMEOUT_S", 0.3)
    with pytest.raises(OSError, match="exited with 3"):
        perform(_program("raise SystemExit(3)"))
    with pytest.raises(OSError, match="more than 0"):
        perform(_program("import time; time.sleep(5)"))
    with pytest.raises(OSError, match="no-such-program"):
        perform({"kind": "program", "argv": ["no-such-program"]})


@pytest.mark.parametrize(
    ("now_uw", "after_uw", "noted"),
    [
        (150_000_000, 300_000_000, False),
        (150_400_000, 300_000_000, False),
        (200_000_000, 200_000_000, True),
        (300_000_000, 300_000_000, False),
    ],
)
def test_file_is_written_only_if_it_contains_a_limit_of_ours(
    tmp_path: Path, now_uw: int, after_uw: int, noted: bool
) -> None:
    path = tmp_path / "constraint_0_power_limit_uw"
    path.write_text(f"{now_uw}\n")
    note = perform({"kind": "file", "path": str(path), "limit_uw": 300_000_000, "ours_mw": [120_000, 150_000]})
    assert (note is not None) is noted
    assert int(path.read_text()) == after_uw


@pytest.mark.parametrize("command", [{}, {"kind": "rm"}, {"kind": None}])
def test_unknown_kind(command: dict[str, Any]) -> None:
    with pytest.raises(OSError, match="unknown kind"):
        perform(command)


def test_gpu_that_is_gone(gpus: Any) -> None:
    command = {"kind": "nvml_limit", "uuid": "GPU-gone", "limit_mw": 1, "ours_mw": []}
    with pytest.raises(OSError, match="Not Found"):
        perform(command)
    gpus.device(0).lost = 1
    with pytest.raises(OSError, match="GPU is lost"):
        perform(command | {"uuid": gpus.device(0).uuid.decode()})


def test_zeusd_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        zeusd(str(tmp_path / "none.sock"), "GET", "/discover")
