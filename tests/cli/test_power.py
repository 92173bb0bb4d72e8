"""`overwinter power`: what can be limited, what was left behind, and a command under several limits."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from overwinter.cli import power as command
from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.actuators import DeniedError

_conftest = importlib.util.spec_from_file_location(
    "overwinter_power_conftest", Path(__file__).parents[1] / "power" / "conftest.py"
)
assert _conftest is not None
assert _conftest.loader is not None
_shared = importlib.util.module_from_spec(_conftest)
_conftest.loader.exec_module(_shared)
gpus, state, wait_for = _shared.gpus, _shared.state, _shared.wait_for

_HOLD = """
import time
from overwinter.power.actuators import ActuatorSettings, open_actuator
from overwinter.power.guard.guard import Guard
with Guard(open_actuator("nvml", ActuatorSettings()), warn=print) as guard:
    guard.apply("gpu:0", 300)
    print("capped", flush=True)
    time.sleep(60)
"""


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def _run(*words: str) -> int:
    return command.run(_parsed(*words))


@pytest.fixture
def holder(gpus: Any, state: Path) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "capped\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_status_tells_devices_and_who_may_set_them(
    gpus: Any, state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: False)
    assert _run("status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    first = status["devices"][0]
    assert (first["actuator"], first["device"], first["minimum"], first["current"]) == ("nvml", "gpu:0", 200, 650)
    assert not first["may_set"]
    assert "CAP_SYS_ADMIN" in first["who"]
    assert {"zeusd", "rapl"} <= status["unavailable"].keys()
    assert status["journals"] == []
    assert not state.exists()
    _run("status")
    table = capsys.readouterr().out
    assert "700 W" in table
    assert "no: root" in table
    assert gpus.device(0).sets == 0


def test_status_without_anything_to_limit(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.library_present", lambda: False)
    assert _run("status") == 0
    assert "nvml: there is no NVIDIA driver" in capsys.readouterr().out


def test_status_tells_who_holds_a_device(gpus: Any, holder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _run("status", "--json", "--restore")
    held = [each for each in json.loads(capsys.readouterr().out)["journals"] if each["ours"]]
    assert [(each["state"], each["holders"], each["previous"]) for each in held] == [("held", [holder.pid], 650)]
    assert gpus.device(0).limit_mw == 300_000


def test_status_restores_what_was_left_behind(
    gpus: Any, state: Path, holder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and str(state).encode() in _words(folder):
            os.kill(int(folder.name), signal.SIGKILL)
    holder.kill()
    holder.wait(10)
    time.sleep(0.2)
    _run("status")
    assert "left behind, at 300, to be restored to 650" in capsys.readouterr().out
    assert gpus.device(0).limit_mw == 300_000
    _run("status", "--restore")
    assert "gpu:0 was restored to 650" in capsys.readouterr().out
    assert gpus.device(0).limit_mw == 650_000


def _words(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def test_profile_runs_the_command_under_each_limit(
    gpus: Any, state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: True)
    gpus.device(1).demand_mw = 60_000
    assert _run("profile", "--limits", "3", "--every", "--max-slowdown", "5", "--json", "--", "sleep", "0.3") == 0
    output = json.loads(capsys.readouterr().out)
    assert [point["limit_w"] for point in output["points"]] == [650, 425, 200]
    assert output["points"][0]["power_w"] == pytest.approx(560, rel=0.25)
    assert output["points"][2]["power_w"] == pytest.approx(260, rel=0.25)
    assert output["best"]["limit_w"] == 200
    assert gpus.device(0).limit_mw == gpus.device(1).limit_mw == 650_000


def test_profile_tries_few_limits_keeps_what_it_found_and_tells_it_again(
    gpus: Any,
    state: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    kept = str(tmp_path / "found.json")
    words = ("profile", "--limits", "10", "--max-slowdown", "5", "--output", kept, "--json", "--", "sleep", "0.3")
    assert _run(*words) == 0
    output, sets = json.loads(capsys.readouterr().out), gpus.device(0).sets
    assert len(output["points"]) < 10
    assert output["points"][0]["limit_w"] == 650
    assert output["best"]["energy_j"] == min(point["energy_j"] for point in output["points"])
    assert _run(*words) == 0
    again = capsys.readouterr()
    assert "found in" in again.err
    assert json.loads(again.out)["best"] == pytest.approx(output["best"])
    assert gpus.device(0).sets == sets
    with pytest.raises(ConfigError, match="was measured for workload"):
        _run(*words[:-1], "0.2")
    assert gpus.device(0).limit_mw == 650_000


def test_profile_says_what_is_missing_where_nothing_takes_a_limit(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.library_present", lambda: False)
    for actuator in ("auto", "duty_cycle", "nvml"):
        with pytest.raises(ConfigError, match="a duty cycle only pauses"):
            _run("profile", "--actuator", actuator, "--", "true")


def test_profile_of_a_command_that_fails_puts_the_limits_back(
    gpus: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: True)
    with pytest.raises(OverwinterError, match="false exited with 1"):
        _run("profile", "--", "false")
    with pytest.raises(ConfigError, match="no-such-command"):
        _run("profile", "--", "no-such-command")
    assert gpus.device(0).limit_mw == 650_000


def test_profile_without_the_right_or_with_wrong_arguments(
    gpus: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: False)
    with pytest.raises(DeniedError, match="zeusd"):
        _run("profile", "--", "true")
    for words, message in [
        ([], "needs a command"),
        (["--limits", "1", "--", "true"], "--limits 1"),
        (["--max-slowdown", "nan", "--", "true"], "--max-slowdown nan"),
    ]:
        with pytest.raises(ConfigError, match=message):
            _run("profile", *words)
