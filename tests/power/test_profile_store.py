"""The key of a profile: the limited device, the driver that limits it, and the workload."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.errors import ConfigError
from overwinter.power.actuators import ActuatorSettings, Limits, open_actuator
from overwinter.power.interface import OperatingPoint
from overwinter.power.profile import load_profile
from overwinter.power.profile_store import ProfileStore, profile_key

_POINTS = (OperatingPoint(limit_w=200, power_w=190, speed_per_s=2.5),)


def _store(tmp_path: Path, *, writes: bool = True, workload: str = "w") -> ProfileStore:
    return ProfileStore(tmp_path / "profiles" / "train.json", workload=workload, writes=writes)


def _cpu(name: str = "duty_cycle") -> Any:
    return SimpleNamespace(name=name, devices=lambda: ("cpu",))


def test_gpus_are_known_by_model_number_and_driver(gpus: Any) -> None:
    actuator = open_actuator("nvml", ActuatorSettings())
    key = profile_key(actuator, "w")
    actuator.close()
    assert (key.device_model, key.driver, key.workload) == ("2 x NVIDIA Stand-In 700W", "nvml 999.42.01", "w")


def test_a_duty_cycle_over_gpus_is_something_else_and_the_daemon_is_not(gpus: Any) -> None:
    limits = Limits(minimum=200, maximum=700, default=700, current=650)
    settings = ActuatorSettings(duty_devices={"gpu:0": limits}, energy_j=lambda _: 0.0)
    boards, pauses = open_actuator("nvml", settings), open_actuator("duty_cycle", settings)
    assert profile_key(pauses, "w").driver == "duty_cycle 999.42.01"
    assert profile_key(pauses, "w").device_model == "1 x NVIDIA Stand-In 700W"
    daemon: Any = SimpleNamespace(name="zeusd", devices=boards.devices)
    assert profile_key(daemon, "w") == profile_key(boards, "w")
    boards.close()


def test_a_stored_profile_is_found_and_refused_for_other_work(tmp_path: Path) -> None:
    store = _store(tmp_path)
    assert store.of(_cpu()) == ()
    store.keep(())
    assert not store.path.exists()
    store.keep(_POINTS)
    assert _store(tmp_path).of(_cpu()) == _POINTS
    assert load_profile(store.path, profile_key(_cpu(), "w")).points == _POINTS
    with pytest.raises(ConfigError, match="was measured for workload 'w'; this is 'v'"):
        _store(tmp_path, workload="v").of(_cpu())
    with pytest.raises(ConfigError, match="was measured for driver 'duty_cycle"):
        _store(tmp_path).of(_cpu("rapl"))


def test_a_store_that_only_reads_writes_nothing(tmp_path: Path) -> None:
    store = _store(tmp_path, writes=False)
    store.of(_cpu())
    store.keep(_POINTS)
    assert not store.path.exists()
