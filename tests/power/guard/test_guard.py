"""The guard, against the real pynvml on a stand-in driver library: every exit restores the previous limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.power.actuators import DeniedError, DeviceLostError, LimitError, open_actuator
from overwinter.power.actuators.simulated import SimulatedLimit
from overwinter.power.actuators.values import ActuatorSettings
from overwinter.power.guard.guard import Guard
from overwinter.power.guard.journal import Slot, boot_id
from overwinter.power.guard.restore_commands import perform
from overwinter.power.guard.state_folder import state_folder
from overwinter.power.guard.status import power_status, restore_left_behind

_SETTINGS = ActuatorSettings()
_KEY = "gpu-0000:01:00.0.power"
_WORK = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # the test runner's parent may ignore it
import sys, time
from overwinter.power.actuators import ActuatorSettings, open_actuator
from overwinter.power.guard.guard import Guard
how, limit_w, share = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "share"
with Guard(open_actuator("nvml", ActuatorSettings()), share=share, warn=print) as guard:
    guard.apply("gpu:0", limit_w)
    print("capped", flush=True)
    if how == "raise":
        raise RuntimeError("something went wrong")
    if how == "return":
        sys.exit(0)
    if how == "fork":
        import os
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
    if how == "fork-exit":
        import os
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        print("child ended", flush=True)
    for _ in range(3000):
        time.sleep(0.01)
        if share:
            guard.apply("gpu:0", limit_w)
"""


def _guard(warnings: list[str], **options: Any) -> Guard:
    return Guard(open_actuator("nvml", _SETTINGS), warn=warnings.append, **options)


def _started(how: str = "wait", limit_w: float = 300, share: str = "refuse") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, how, str(limit_w), share],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) and line != "capped\n":
        pass
    assert line == "capped\n"
    return process


def _ended(process: subprocess.Popen[str]) -> None:
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def _watchdogs(state: Path) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"watchdog.py" in words and str(state).encode() in words:
                found.append(int(folder.name))
    return found


def test_sets_a_limit_and_restores_the_previous_one(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        assert guard.apply("gpu:0", 300) == 300
        assert guard.apply("gpu:0", 250) == 250
        assert gpus.device(0).limit_mw == 250_000
        assert gpus.device(1).limit_mw == 650_000
    assert gpus.device(0).limit_mw == 650_000
    assert list((state / _KEY).iterdir()) == [state / _KEY / "mutex"]
    assert warnings == []


def test_puts_back_the_previous_limit_and_neither_the_default_nor_the_maximum(
    gpus: Any, state: Path, warnings: list[str]
) -> None:
    gpus.device(0).limit_mw = 432_000
    with _guard(warnings) as guard:
        assert guard.previous("gpu:0") == 432
        guard.apply("gpu:0", 300)
    assert gpus.device(0).limit_mw == 432_000


def test_none_restores_the_previous_limit_at_once(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
        assert guard.apply("gpu:0", None) == 650
        assert not (state / _KEY / "journal.json").exists()
        guard.apply("gpu:0", 310)
    assert gpus.device(0).limit_mw == 650_000


def test_journal_is_there_before_the_first_change(
    gpus: Any, state: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def apply(device: str, value: float) -> None:
        seen.append(json.loads((state / _KEY / "journal.json").read_text()))
        seen.append(gpus.device(0).limit_mw)

    with _guard(warnings) as guard:
        monkeypatch.setattr(guard.actuator, "apply", apply)
        guard.apply("gpu:0", 300)
    journal, limit_mw = seen
    assert limit_mw == 650_000
    assert journal["previous"] == 650
    assert journal["commands"] == [
        {
            "kind": "nvml_limit",
            "uuid": gpus.device(0).uuid.decode(),
            "limit_mw": 650_000,
            "ours_mw": [300_000],
        }
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, 199, 701, "300", None.__class__])
def test_impossible_limit_is_refused_and_changes_nothing(
    gpus: Any, state: Path, warnings: list[str], value: Any
) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
        with pytest.raises(LimitError, match="its range is 200 to 700"):
            guard.apply("gpu:0", value)
        assert gpus.device(0).limit_mw == 300_000


def test_limit_of_an_operator_is_never_raised(gpus: Any, state: Path, warnings: list[str]) -> None:
    gpus.device(0).limit_mw = 400_000
    with _guard(warnings) as guard:
        assert guard.apply("gpu:0", 500) == 400
        assert guard.apply("gpu:0", 600) == 400
    assert gpus.device(0).limit_mw == 400_000
    assert any("operator allows 400" in line for line in warnings)


def test_limit_that_an_operator_sets_meanwhile_holds_and_stays(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 500)
        gpus.device(0).limit_mw = 350_000
        assert guard.apply("gpu:0", 500) == 350
        assert guard.apply("gpu:0", 300) == 300
    assert gpus.device(0).limit_mw == 350_000
    assert any("by another process" in line for line in warnings)


def test_limit_that_an_operator_sets_last_is_kept(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 500)
        gpus.device(0).limit_mw = 350_000
    assert gpus.device(0).limit_mw == 350_000
    assert any("set by another process" in line for line in warnings)


def test_cap_that_does_not_hold_is_reported(gpus: Any, state: Path, warnings: list[str]) -> None:
    gpus.device(0).ignores_limit = 1
    with _guard(warnings) as guard:
        assert guard.apply("gpu:0", 300) == 700
        guard.apply("gpu:0", 300)
    assert [line for line in warnings if "has no effect" in line] == [
        "gpu:0 was limited to 300, but 700 is enforced: the cap has no effect"
    ]


def test_without_the_right_nothing_is_left_behind(gpus: Any, state: Path, warnings: list[str]) -> None:
    gpus.state.may_set = 0
    with _guard(warnings) as guard, pytest.raises(DeniedError, match=r"CAP_SYS_ADMIN.*zeusd"):
        guard.apply("gpu:0", 300)
    assert not (state / _KEY / "journal.json").exists()
    assert gpus.device(0).limit_mw == 650_000


def test_device_that_vanishes_is_an_error_and_the_others_go_back(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
        guard.apply("gpu:1", 300)
        gpus.device(0).lost = 1
        with pytest.raises(DeviceLostError, match="GPU is lost"):
            guard.apply("gpu:0", 320)
    assert gpus.device(1).limit_mw == 650_000
    assert any("gpu:0 could not be restored" in line for line in warnings)
    assert (state / _KEY / "journal.json").exists()


def test_restoring_finds_a_board_next_to_a_lost_one(gpus: Any, state: Path, wait_for: Any) -> None:
    """NVML looks up no UUID while any board is lost; the watchdog restores the others anyway."""
    gpus.device(0).limit_mw = 600_000
    process = _started()
    gpus.device(1).lost = 1
    process.kill()
    _ended(process)
    assert wait_for(lambda: gpus.device(0).limit_mw == 600_000, 5.0)


def test_watchdog_restores_every_remaining_board(
    gpus: Any, state: Path, warnings: list[str], wait_for: Any, tmp_path: Path
) -> None:
    script = (
        "import time, sys\n"
        "from overwinter.power.actuators import ActuatorSettings, open_actuator\n"
        "from overwinter.power.guard.guard import Guard\n"
        "guard = Guard(open_actuator('nvml', ActuatorSettings()), warn=print).open()\n"
        "for device in guard.devices: guard.apply(device, 300)\n"
        "print('capped', flush=True); time.sleep(30)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "capped\n"
    gpus.device(0).lost = 1
    process.kill()
    _ended(process)
    assert wait_for(lambda: gpus.device(1).limit_mw == 650_000, 5.0)
    assert gpus.device(0).limit_mw == 300_000
    gpus.device(0).lost = 0  # it comes back, and the watchdog is still trying
    assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 5.0)


def test_board_that_is_lost_when_it_is_taken_is_skipped(gpus: Any, state: Path, warnings: list[str]) -> None:
    actuator = open_actuator("nvml", _SETTINGS)
    gpus.device(0).lost = 1
    with Guard(actuator, warn=warnings.append) as guard:
        assert guard.devices == ("gpu:1",)
        guard.apply("gpu:1", 300)
    assert gpus.device(1).limit_mw == 650_000
    assert any("gpu:0 does not respond" in line and "skipped" in line for line in warnings)


def test_guard_over_nothing_but_lost_boards_is_refused(gpus: Any, state: Path, warnings: list[str]) -> None:
    guard = _guard(warnings)
    gpus.device(0).lost = gpus.device(1).lost = 1
    with pytest.raises(DeviceLostError, match="gpu:0"):
        guard.open()


def test_restoring_by_hand_continues_after_a_board_that_does_not_respond(
    gpus: Any, state: Path, warnings: list[str]
) -> None:
    guard = _guard(warnings).open()
    guard.apply("gpu:0", 300)
    guard.apply("gpu:1", 300)
    for holder in state.glob("*/*.holder"):
        holder.unlink()  # as after a kill of the run and its watchdog
    gpus.device(0).lost = 1
    with pytest.raises(
        OverwinterError, match=r"(?s)gpu:1 was restored to 650.*0000:01:00\.0\.power cannot be restored"
    ):
        restore_left_behind()
    assert gpus.device(1).limit_mw == 650_000
    status = power_status(_SETTINGS)
    assert "nvml gpu:0" in status.unavailable
    assert [each.device for each in status.devices if each.actuator == "nvml"] == ["gpu:1"]
    gpus.device(0).lost = 0
    guard.close()
    assert gpus.device(0).limit_mw == 650_000


def test_every_command_of_a_journal_is_tried(tmp_path: Path, state: Path) -> None:
    slot = Slot(str(tmp_path))
    content = {"boot_id": boot_id(), "device": "cpu:package-0", "commands": [{"at": 1}, {"at": 2}]}
    (tmp_path / "journal.json").write_text(json.dumps(content))
    tried = []

    def perform(command: dict[str, Any]) -> str | None:
        tried.append(command["at"])
        if command["at"] == 1:
            raise OSError("lost")
        return None

    with pytest.raises(OSError, match="lost"):
        slot.restore(perform)
    assert tried == [1, 2]
    assert slot.journal() is not None


def test_garbled_file_is_an_error_that_others_survive(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("garbage")
    command = {"kind": "file", "path": str(tmp_path / "limit"), "limit_uw": 10**8, "ours_mw": [50_000]}
    with pytest.raises(OSError, match="cannot be restored"):
        perform(command)


def test_nothing_is_set_once_the_guard_is_closed(gpus: Any, state: Path, warnings: list[str]) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
    with pytest.raises(OverwinterError, match="was released"):
        guard.apply("gpu:0", 300)
    assert gpus.device(0).limit_mw == 650_000


def test_closing_twice_is_harmless(gpus: Any, state: Path, warnings: list[str]) -> None:
    guard = _guard(warnings).open()
    guard.apply("gpu:0", 300)
    guard.close()
    gpus.device(0).limit_mw = 500_000
    guard.close()
    assert gpus.device(0).limit_mw == 500_000


def test_driver_that_hangs_does_not_hold_up_the_end(
    gpus: Any, state: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.guard.guard._TIMEOUT_S", 0.2)
    guard = _guard(warnings).open()
    guard.apply("gpu:0", 300)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(device: str, value: float) -> None:
        hangs.set()
        goes_on.wait(10)

    monkeypatch.setattr(guard.actuator, "apply", hang)
    thread = threading.Thread(target=guard.apply, args=("gpu:0", 310))
    thread.start()
    hangs.wait(10)
    guard.close()
    assert any("driver hangs" in line for line in warnings)
    goes_on.set()
    thread.join()
    guard.close()
    assert gpus.device(0).limit_mw == 650_000


def test_forked_child_that_exits_keeps_the_limit(gpus: Any, state: Path) -> None:
    process = _started("fork-exit")
    assert process.stdout is not None
    assert process.stdout.readline() == "child ended\n"
    assert gpus.device(0).limit_mw == 300_000
    process.terminate()
    _ended(process)


@pytest.mark.parametrize("how", ["return", "raise"])
def test_ordinary_ends_put_the_limit_back(gpus: Any, state: Path, how: str) -> None:
    _ended(_started(how))
    assert gpus.device(0).limit_mw == 650_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_signals_put_the_limit_back_within_two_seconds(
    gpus: Any, state: Path, wait_for: Any, number: signal.Signals
) -> None:
    process = _started()
    assert gpus.device(0).limit_mw == 300_000
    process.send_signal(number)
    began_s = time.monotonic()
    assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 5)
    assert time.monotonic() - began_s < 2
    _ended(process)
    assert wait_for(lambda: _watchdogs(state) == [], 5)
    assert wait_for(lambda: not (state / _KEY / "journal.json").exists(), 2)


def test_limits_are_restored_in_time_after_each_of_several_kills(gpus: Any, state: Path, wait_for: Any) -> None:
    for limit_w in range(210, 250, 10):  # benchmarks/power_guard.py kills a hundred
        process = _started(limit_w=limit_w)
        assert gpus.device(0).limit_mw == 1000 * limit_w
        process.kill()
        assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 2)
        _ended(process)


def test_kill_of_the_run_and_all_its_children_spares_the_watchdog(gpus: Any, state: Path, wait_for: Any) -> None:
    import psutil

    process = _started("fork")
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 2)
    _ended(process)


def test_living_child_of_a_killed_run_does_not_keep_the_limit(gpus: Any, state: Path, wait_for: Any) -> None:
    process = _started("fork")
    process.kill()
    assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 2)
    _ended(process)


def test_next_run_restores_what_a_killed_run_with_a_killed_watchdog_left(
    gpus: Any, state: Path, warnings: list[str], wait_for: Any
) -> None:
    process = _started()
    (watchdog,) = _watchdogs(state)
    os.kill(watchdog, signal.SIGKILL)
    process.kill()
    _ended(process)
    assert gpus.device(0).limit_mw == 300_000
    with _guard(warnings) as guard:
        assert gpus.device(0).limit_mw == 650_000
        assert guard.previous("gpu:0") == 650
    assert any("killed run" in line for line in warnings)


def test_journal_from_before_a_restart_is_dropped_and_restores_nothing(
    gpus: Any, state: Path, warnings: list[str]
) -> None:
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
        journal = json.loads((state / _KEY / "journal.json").read_text())
    gpus.device(0).limit_mw = 300_000
    (state / _KEY / "journal.json").write_text(json.dumps(journal | {"boot_id": "another start"}))
    with _guard(warnings) as guard:
        assert guard.previous("gpu:0") == 300
    assert gpus.device(0).limit_mw == 300_000
    assert any("last reboot" in line for line in warnings)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_unreadable_journal_is_no_obstacle(gpus: Any, state: Path, warnings: list[str], text: str) -> None:
    folder = state / _KEY
    folder.mkdir(parents=True)
    (folder / "journal.json").write_text(text)
    with _guard(warnings) as guard:
        guard.apply("gpu:0", 300)
    assert gpus.device(0).limit_mw == 650_000


def test_second_run_on_a_device_is_refused_by_name(gpus: Any, state: Path, warnings: list[str]) -> None:
    process = _started()
    with pytest.raises(RefusedError, match=f"gpu:0 is held by process {process.pid}"):
        _guard(warnings).open()
    with pytest.raises(RefusedError, match="share_device"):
        _guard(warnings, share=True).open()
    assert gpus.device(0).limit_mw == 300_000
    process.terminate()
    _ended(process)


def test_sharing_runs_get_the_lowest_limit_and_the_last_puts_it_back(
    gpus: Any, state: Path, warnings: list[str], wait_for: Any
) -> None:
    process = _started(limit_w=300, share="share")
    with _guard(warnings, share=True) as guard:
        assert guard.previous("gpu:0") == 650
        assert guard.apply("gpu:0", 400) == 300
        assert guard.apply("gpu:0", 250) == 250
        assert guard.apply("gpu:0", 400) in (300, 400)
        process.kill()
        _ended(process)
        assert wait_for(lambda: guard.apply("gpu:0", 400) == 400, 2)
    assert gpus.device(0).limit_mw == 650_000


def test_sharing_run_that_found_the_limit_set_is_watched_too(gpus: Any, state: Path, wait_for: Any) -> None:
    first = _started(limit_w=300, share="share")
    second = _started(limit_w=300, share="share")
    first.kill()
    _ended(first)
    assert not wait_for(lambda: gpus.device(0).limit_mw == 650_000, 0.3)
    second.kill()
    assert wait_for(lambda: gpus.device(0).limit_mw == 650_000, 2)
    _ended(second)


def test_locked_clocks_end_unlocked(gpus: Any, state: Path, warnings: list[str]) -> None:
    with Guard(open_actuator("nvml_clocks", _SETTINGS), warn=warnings.append) as guard:
        assert guard.apply("gpu:0", 1200) == 1200
        assert gpus.device(0).locked_clock_mhz == 1200
        with pytest.raises(LimitError, match="210 to 1980"):
            guard.apply("gpu:0", 5000)
        guard.apply("gpu:0", None)
        assert gpus.device(0).locked_clock_mhz == 0
        guard.apply("gpu:0", 1300)
    assert gpus.device(0).locked_clock_mhz == 0


def test_rapl_restores_both_constraints(powercap: Path, state: Path, warnings: list[str]) -> None:
    folder = powercap / "intel-rapl:0"
    (folder / "constraint_1_power_limit_uw").write_text("200000000")
    actuator = open_actuator("rapl", ActuatorSettings(powercap_root=powercap))
    with Guard(actuator, warn=warnings.append) as guard:
        assert guard.apply("cpu:package-0", 80) == 80
        assert (folder / "constraint_1_power_limit_uw").read_text() == "128000000"
        assert guard.apply("cpu:package-0", 60) == 60
    assert (folder / "constraint_0_power_limit_uw").read_text() == "125000000"
    assert (folder / "constraint_1_power_limit_uw").read_text() == "200000000"
    assert warnings == []


def test_folder_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    monkeypatch.setenv("OVERWINTER_POWER_STATE", str(folder))
    with pytest.raises(ConfigError, match="not writable by others"):
        state_folder()


def test_journal_with_an_unknown_command_stays(tmp_path: Path, state: Path, warnings: list[str]) -> None:
    SimulatedLimit.make(tmp_path / "devices", "toy", minimum_w=100, maximum_w=300, limit_w=300)
    slot = Slot(str(state / "simulated-toy.power"))
    Path(slot.folder).mkdir(parents=True)
    from overwinter.power.guard.journal import boot_id

    journal = {
        "device": "toy",
        "boot_id": boot_id(),
        "previous": 300,
        "commands": [{"kind": "from the future"}],
    }
    Path(slot.journal_path).write_text(json.dumps(journal))
    actuator = SimulatedLimit(tmp_path / "devices")
    with pytest.raises(DeviceLostError, match="from the future"):
        Guard(actuator, warn=warnings.append).open()
    assert Path(slot.journal_path).exists()
