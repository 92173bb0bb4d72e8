"""Control loops from the configuration: the actuator, and the fall-back without permission to set limits."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.carbon.constant import FixedIntensity
from overwinter.carbon.fallback import FallbackChain
from overwinter.carbon.intensity import Intensity
from overwinter.carbon.provider import Point
from overwinter.carbon.trace import read_trace
from overwinter.carbon.trace_source import TraceSource
from overwinter.errors import ConfigError
from overwinter.power.actuators import DeniedError
from overwinter.power.control.observing import Readings, Sources, metered, sources_of
from overwinter.power.control.opening import duty_devices, open_control
from overwinter.power.interface import Decision, Observation, Series

_HARDWARE: Any = SimpleNamespace(cpu_tdp_w=100.0, cpu_threads=10, cpu_w_per_thread=6.0, cpu_idle_fraction=0.2)


@dataclasses.dataclass
class _Power:
    policy: str = "fixed"
    actuator: str = "nvml"
    on_denied: str = "fail"
    interval_s: float = 5.0
    share_device: str = "refuse"


class _Fixed:
    """Half of each device's highest limit."""

    def decide(self, observation: Observation) -> Decision:
        return Decision(limits_w={device.name: device.max_w / 2 for device in observation.devices}, clock_mhz=1200)


def _control(power: Any, warnings: list[str], root: Path, energy_j: Any = None) -> Any:
    energy: Any = SimpleNamespace(rapl_root=str(root))
    sources = Sources(energy_j=energy_j or (lambda: {"gpu:0": 5.0, "cpu": 1.0, "ram": 1.0}))
    return open_control(power, _Fixed(), energy=energy, hardware=_HARDWARE, sources=sources, warn=warnings.append)


def test_limits_and_clocks_are_set_and_restored(
    gpus: Any, state: Path, warnings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: True)
    with _control(_Power(), warnings, tmp_path) as control:
        assert gpus.device(0).limit_mw == gpus.device(1).limit_mw == 350_000
        assert gpus.device(0).locked_clock_mhz == 1200
        assert control.record().power_policy == "fixed"
    assert gpus.device(0).limit_mw == gpus.device(1).limit_mw == 650_000
    assert gpus.device(0).locked_clock_mhz == 0


def test_only_the_first_rank_of_a_node_sets_limits(
    gpus: Any, state: Path, warnings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with _control(_Power(), warnings, tmp_path) as control:
        assert gpus.device(0).limit_mw == 650_000
        assert control.record().actuator is None
    assert warnings == []


@pytest.mark.parametrize("known_before", [True, False])
def test_without_the_right_and_on_denied_fail(
    gpus: Any, state: Path, warnings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_before: bool
) -> None:
    gpus.state.may_set = 0
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: not known_before)
    with pytest.raises(DeniedError, match=r"(?s)zeusd.*power\.on_denied"):
        _control(_Power(), warnings, tmp_path).start()


@pytest.mark.parametrize("known_before", [True, False])
def test_without_the_right_and_on_denied_duty_cycle(
    gpus: Any, state: Path, warnings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_before: bool
) -> None:
    gpus.state.may_set = 0
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: not known_before)
    began_s = time.monotonic()

    def energy_j() -> dict[str, float]:
        return {"gpu:0": 500.0 * (time.monotonic() - began_s - control_paused())}

    def control_paused() -> float:
        return float(control.record().paused_s)

    control = _control(_Power(on_denied="duty_cycle"), warnings, tmp_path, lambda: {"gpu:0": 0.0})
    control._readings = Readings(Sources(energy_j=energy_j), warnings.append)
    with control:
        record = control.record()
        assert record.actuator == "duty_cycle"
        assert "saves no energy" in record.note
        control.step(1, 10)
    assert gpus.device(0).limit_mw == 650_000
    assert any("power.on_denied=duty_cycle" in line for line in warnings)


def test_without_the_right_and_on_denied_ignore(
    gpus: Any, state: Path, warnings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: False)
    with _control(_Power(on_denied="ignore"), warnings, tmp_path) as control:
        assert control.record().actuator is None
    assert any("Power is not limited" in line for line in warnings)


def test_machine_where_nothing_takes_a_limit(
    warnings: list[str], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.library_present", lambda: False)
    with pytest.raises(DeniedError, match="no device on this machine supports power limits"):
        _control(_Power(actuator="auto"), warnings, tmp_path)
    with _control(_Power(actuator="auto", on_denied="duty_cycle"), warnings, tmp_path, lambda: {"cpu": 1.0}) as control:
        assert control.record().actuator == "duty_cycle"


def test_actuators_that_cannot_be_used(gpus: Any, warnings: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'nvml'"):
        _control(_Power(actuator="nvlm", on_denied="ignore"), warnings, tmp_path)
    with pytest.raises(ConfigError, match="does not set power limits"):
        _control(_Power(actuator="nvml_clocks"), warnings, tmp_path)


def test_duty_cycle_holds_gpus_else_the_cpu(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(duty_devices(["gpu:0", "cpu", "ram"], _HARDWARE)) == {"gpu:0"}
    monkeypatch.setattr("overwinter.energy.machine.allowed_threads", lambda: 1.0)
    cpu = duty_devices(["cpu", "ram"], _HARDWARE)["cpu"]
    assert (cpu.maximum, cpu.minimum) == (pytest.approx(10), pytest.approx(2.1))
    packages = duty_devices(["cpu:package-0", "cpu:package-1"], _HARDWARE)
    assert packages["cpu:package-1"].maximum == pytest.approx(5)


def test_sources_of_a_meter_and_an_intensity_source() -> None:
    parts = [SimpleNamespace(device="cpu", energy_j=5.0), SimpleNamespace(device="cpu", energy_j=2.0)]
    meter: Any = SimpleNamespace(read=lambda: SimpleNamespace(components=parts))
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    points = [Point(time_utc=noon + timedelta(hours=hour), g_per_kwh=100.0 + hour) for hour in range(3)]
    constant: Any = SimpleNamespace(at=lambda time_utc: SimpleNamespace(g_per_kwh=42.0))
    live: Any = SimpleNamespace(at=constant.at, forecast=lambda time_utc: points)
    assert sources_of(constant).intensity_forecast is None
    sources = sources_of(live, energy_j=lambda: metered(meter), remaining=lambda: (1.0, None))
    assert sources.energy_j() == {"cpu": 7.0}
    assert sources.intensity_g_per_kwh is not None
    assert sources.intensity_g_per_kwh(noon) == 42
    assert sources.intensity_forecast is not None
    assert sources.intensity_forecast(noon) == Series(start_utc=noon, step_s=3600, values=(100, 101, 102))


def test_an_intensity_that_is_missing_for_hours_is_bridged_and_then_reported_to_be_unknown(tmp_path: Path) -> None:
    """A trace that has ended provides a forecast for two more days, then none."""
    path, start = tmp_path / "c.csv", datetime(2026, 6, 1, tzinfo=UTC)
    rows = [f"{start + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ},{100 + hour % 24}" for hour in range(72)]
    path.write_text("\n".join(["time_utc,g_per_kwh", *rows]) + "\n")
    fallback = FixedIntensity(intensity=Intensity(g_per_kwh=475.0, source="constant", kind="average"))
    chain = FallbackChain([TraceSource(read_trace(path), name="c.csv", kind="average"), fallback])
    sources = sources_of(chain)
    assert sources.intensity_forecast is not None
    assert sources.intensity_g_per_kwh is not None
    hours_later = start + timedelta(hours=80)
    assert sources.intensity_g_per_kwh(hours_later) == 475
    ahead = sources.intensity_forecast(hours_later)
    assert ahead is not None
    assert ahead.values[:3] == pytest.approx((108, 109, 110))
    assert sources.intensity_forecast(start + timedelta(hours=72 + 60)) is None
