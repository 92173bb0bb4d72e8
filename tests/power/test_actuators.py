"""Actuators: the real pynvml on a stand-in library, a powercap tree, a daemon that speaks zeusd's HTTP, pauses."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.energy.nvml_boards import pci_address
from overwinter.errors import ConfigError
from overwinter.power.actuators import (
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    LimitError,
    Limits,
    open_actuator,
)
from overwinter.power.actuators.duty_cycle import DutyCycle
from overwinter.power.actuators.simulated import SimulatedLimit
from overwinter.power.guard.guard import Guard
from overwinter.registries import POWER_ACTUATORS

# NVML.


def test_nvml_reports_ranges_in_watts_and_reads_back_the_enforced_limit(gpus: Any) -> None:
    actuator = open_actuator("nvml", ActuatorSettings())
    assert actuator.devices() == ("gpu:0", "gpu:1")
    assert actuator.limits("gpu:0") == Limits(minimum=200, maximum=700, default=700, current=650)
    actuator.apply("gpu:1", 333.3)
    assert gpus.device(1).limit_mw == 333_300
    assert actuator.enforced("gpu:1") == 333.3
    gpus.device(1).operator_mw = 250_000
    assert actuator.enforced("gpu:1") == 250
    actuator.close()


def test_nvml_sees_only_the_visible_gpus(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus.device(1).uuid.decode())
    assert open_actuator("nvml", ActuatorSettings()).devices() == ("gpu:1",)


@pytest.mark.parametrize("code", [1, 3, 4, 999])
def test_nvml_limits_the_remaining_boards_and_names_the_lost(gpus: Any, code: int) -> None:
    gpus.device(0).lost = code
    actuator = open_actuator("nvml", ActuatorSettings())
    assert actuator.devices() == ("gpu:1",)
    assert "gpu:0 does not respond" in actuator.note
    actuator.apply("gpu:1", 300)
    assert gpus.device(1).limit_mw == 300_000


def test_nvml_with_only_lost_boards_is_refused(gpus: Any) -> None:
    gpus.device(0).lost = gpus.device(1).lost = 1
    with pytest.raises(ConfigError, match=r"gpu:0 does not respond \(GPU is lost\)"):
        open_actuator("nvml", ActuatorSettings())


def test_nvml_does_not_limit_a_board_that_may_be_another_user_s(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.energy.nvml_boards.ask_cuda", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpus.device(1).name = b"NVIDIA Faster 900W"
    with pytest.raises(ConfigError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        open_actuator("nvml", ActuatorSettings())


def test_nvml_reports_whether_the_cap_binds(gpus: Any) -> None:
    actuator = open_actuator("nvml", ActuatorSettings())
    actuator.apply("gpu:0", 400)
    assert actuator.bound("gpu:0") is True
    actuator.apply("gpu:0", 600)
    assert actuator.bound("gpu:0") is False


def test_nvml_without_permission_names_who_may(gpus: Any) -> None:
    gpus.state.may_set = 0
    actuator = open_actuator("nvml", ActuatorSettings())
    with pytest.raises(DeniedError, match=r"root, a process with CAP_SYS_ADMIN, or zeusd"):
        actuator.apply("gpu:0", 300)


def test_nvml_permission_is_the_capability_not_the_user(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    actuator = open_actuator("nvml", ActuatorSettings())
    status = "Name:\tpython\nCapEff:\t{}\n"
    masks = {"000001ffffffffff": True, "00000000a80425fb": False, "0000000000200000": True}
    for mask, granted in masks.items():
        text = status.format(mask)
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text, **__: text)
        assert actuator.permission().granted is granted


def test_nvml_that_is_broken_or_missing(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.state.broken = 1
    with pytest.raises(ConfigError, match="cannot be initialized: Driver Not Loaded"):
        open_actuator("nvml", ActuatorSettings())
    monkeypatch.setattr("overwinter.power.actuators.nvml.library_present", lambda: False)
    with pytest.raises(ConfigError, match="no NVIDIA driver"):
        open_actuator("nvml", ActuatorSettings())


def test_locked_clocks(gpus: Any) -> None:
    actuator = open_actuator("nvml_clocks", ActuatorSettings())
    assert actuator.quantity == "clock_mhz"
    assert actuator.limits("gpu:0") == Limits(minimum=210, maximum=1980, default=1980, current=None)
    actuator.apply("gpu:0", 990)
    assert gpus.device(0).locked_clock_mhz == 990
    assert actuator.enforced("gpu:0") == 990


@pytest.mark.parametrize(
    ("bus_id", "address"), [("00000000:01:00.0", "0000:01:00.0"), ("0001:AF:00.0", "0001:af:00.0")]
)
def test_pci_address(bus_id: str, address: str) -> None:
    assert pci_address(bus_id) == address


# RAPL.


def _rapl(root: Path) -> Any:
    return open_actuator("rapl", ActuatorSettings(powercap_root=root))


def test_rapl_limits_packages_and_nothing_that_is_inside_or_around_them(powercap: Path) -> None:
    actuator = _rapl(powercap)
    assert actuator.devices() == ("cpu:package-0", "cpu:package-1")
    assert actuator.limits("cpu:package-0") == Limits(minimum=25, maximum=125, default=125, current=125)


def test_rapl_limits_a_package_whose_energy_may_not_be_read(powercap: Path) -> None:
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert _rapl(powercap).devices() == ("cpu:package-0", "cpu:package-1")


def test_rapl_uses_the_lowest_limit_that_the_zone_reports(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "constraint_0_min_power_uw").write_text("55000000")
    assert _rapl(powercap).limits("cpu:package-0").minimum == 55


def test_rapl_keeps_the_ratio_of_the_short_term(powercap: Path) -> None:
    actuator = _rapl(powercap)
    actuator.apply("cpu:package-1", 75)
    assert (powercap / "intel-rapl:1" / "constraint_0_power_limit_uw").read_text() == "75000000"
    assert (powercap / "intel-rapl:1" / "constraint_1_power_limit_uw").read_text() == "150000000"
    assert actuator.enforced("cpu:package-1") == 75


def test_rapl_zone_without_a_short_term(powercap: Path, state: Path, warnings: list[str]) -> None:
    (powercap / "intel-rapl:0" / "constraint_1_power_limit_uw").unlink()
    with Guard(_rapl(powercap), warn=warnings.append) as guard:
        assert guard.apply("cpu:package-0", 75) == 75
    assert (powercap / "intel-rapl:0" / "constraint_0_power_limit_uw").read_text() == "125000000"


def test_rapl_without_permission(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actuator = _rapl(powercap)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(DeniedError, match="root may"):
        actuator.apply("cpu:package-0", 75)


def test_rapl_zone_that_is_switched_off_vanished_or_absent(powercap: Path, tmp_path: Path) -> None:
    actuator = _rapl(powercap)
    (powercap / "intel-rapl:0" / "enabled").write_text("0")
    with pytest.raises(LimitError, match="enabled is 0"):
        actuator.apply("cpu:package-0", 75)
    (powercap / "intel-rapl:1" / "constraint_0_power_limit_uw").unlink()
    with pytest.raises(DeviceLostError, match="cannot be read"):
        actuator.limits("cpu:package-1")
    with pytest.raises(ConfigError, match=r"energy\.rapl_root"):
        _rapl(tmp_path / "nothing")


# zeusd.


class _Zeusd:
    """A daemon that speaks the documented API and changes the stand-in GPUs."""

    def __init__(self, path: Path, gpus: Any) -> None:
        self.gpus, self.path = gpus, path
        self.groups = ["gpu-control", "gpu-read"]
        self.token: str | None = None
        self.status = 200
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond("GET")

            def do_POST(self) -> None:
                self._respond("POST")

            def _respond(self, method: str) -> None:
                status, content = outer.respond(method, self.path, self.headers.get("Authorization"))
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: Any) -> None:
                pass

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def respond(self, method: str, target: str, authorization: str | None) -> tuple[int, Any]:
        self.asked.append(f"{method} {target}")
        parts, query = urlsplit(target), parse_qs(urlsplit(target).query)
        if parts.path == "/discover":
            return 200, self._discovered()
        if self.token and authorization != f"Bearer {self.token}":
            return 401, {"error": "missing token"}
        if self.status != 200:
            return self.status, {"errors": {"0": "something"}}
        device = self.gpus.device(int(query["gpu_ids"][0]))
        if (method, parts.path) == ("POST", "/gpu/set_power_limit") and query["block"] == ["true"]:
            device.limit_mw = int(query["power_limit_mw"][0])
            return 200, {}
        if (method, parts.path) == ("GET", "/gpu/get_power_limit"):
            return 200, {query["gpu_ids"][0]: {"power_limit_mw": device.limit_mw}}
        return 404, {}

    def _discovered(self) -> dict[str, Any]:
        ids = range(int(self.gpus.state.count))
        return {
            "gpus": [{"id": index, "name": "x", "pci_address": f"0000:{index + 1:02x}:00.0"} for index in ids],
            "cpus": [],
            "enabled_api_groups": self.groups,
            "auth_required": self.token is not None,
        }


@pytest.fixture
def zeusd(gpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Zeusd]:
    gpus.state.may_set = 0
    daemon = _Zeusd(tmp_path / "zeusd.sock", gpus)
    monkeypatch.setenv("ZEUSD_SOCK_PATH", str(daemon.path))
    yield daemon
    daemon.server.shutdown()
    daemon.server.server_close()


def test_zeusd_sets_a_limit_that_this_process_may_not(
    zeusd: _Zeusd, gpus: Any, state: Path, warnings: list[str]
) -> None:
    actuator = open_actuator("zeusd", ActuatorSettings())
    assert actuator.permission().granted
    with Guard(actuator, warn=warnings.append) as guard:
        assert guard.apply("gpu:1", 300) == 300
        assert gpus.device(1).limit_mw == 300_000
        (command,) = json.loads((state / "gpu-0000:02:00.0.power" / "journal.json").read_text())["commands"]
        assert command["kind"] == "zeusd"
    assert gpus.device(1).limit_mw == 650_000
    assert warnings == []


def test_zeusd_takes_its_token_from_the_environment_and_no_file_has_it(
    zeusd: _Zeusd, gpus: Any, state: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    zeusd.token = "secret-of-zeusd"
    with Guard(open_actuator("zeusd", ActuatorSettings()), warn=warnings.append) as guard:
        with pytest.raises(DeniedError, match="ZEUSD_TOKEN"):
            guard.apply("gpu:0", 300)
        monkeypatch.setenv("ZEUSD_TOKEN", "secret-of-zeusd")
        guard.apply("gpu:0", 300)
        assert not [path for path in state.rglob("*") if path.is_file() and "secret" in path.read_text()]
    assert gpus.device(0).limit_mw == 650_000


@pytest.mark.parametrize(("status", "error"), [(403, DeniedError), (404, DeniedError), (500, DeviceLostError)])
def test_zeusd_that_refuses_or_fails(zeusd: _Zeusd, status: int, error: type[Exception]) -> None:
    actuator = open_actuator("zeusd", ActuatorSettings())
    zeusd.status = status
    with pytest.raises(error, match=f"returned {status}"):
        actuator.apply("gpu:0", 300)


def test_zeusd_that_is_read_only_or_something_else(zeusd: _Zeusd, gpus: Any, tmp_path: Path) -> None:
    zeusd.groups = ["gpu-read"]
    assert "gpu-control" in open_actuator("zeusd", ActuatorSettings()).permission().who
    zeusd.groups = None  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="does not respond like zeusd"):
        open_actuator("zeusd", ActuatorSettings())
    with pytest.raises(ConfigError, match="socket was not found"):
        open_actuator("zeusd", ActuatorSettings(zeusd_socket=str(tmp_path / "none.sock")))


# By name.


def test_auto_takes_the_first_that_may_set_limits(
    zeusd: _Zeusd, gpus: Any, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = {"value": True}
    monkeypatch.setattr("overwinter.power.actuators.nvml.may_administer", lambda: granted["value"])
    found = ActuatorSettings(powercap_root=powercap)
    assert open_actuator("auto", found).name == "nvml"
    granted["value"] = False
    assert open_actuator("auto", found).name == "zeusd"
    zeusd.groups = ["gpu-read"]
    assert open_actuator("auto", found).name == "rapl"
    assert open_actuator("auto", ActuatorSettings(powercap_root=powercap / "none")).name == "nvml"


def test_auto_without_devices_names_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.power.actuators.nvml.library_present", lambda: False)
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    with pytest.raises(ConfigError, match=r"no NVIDIA driver.*no CPU package"):
        open_actuator("auto", ActuatorSettings(powercap_root=tmp_path))


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'nvml'"):
        open_actuator("nmvl", ActuatorSettings())


def test_third_party_actuator_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint(name="pdu", value="math:gcd", group="overwinter.power_actuators")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    assert "pdu" in POWER_ACTUATORS.names()
    monkeypatch.setattr("math.gcd", lambda settings: ("opened", settings))
    assert open_actuator("pdu", ActuatorSettings())[0] == "opened"  # type: ignore[index]


# The duty cycle.


class _Work:
    """Steps of a given power and length, in simulated time; pauses draw idle power."""

    def __init__(self, *, busy_w: float, idle_w: float) -> None:
        self.busy_w, self.idle_w = busy_w, idle_w
        self.now_s = self.energy_j = 0.0

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.energy_j += self.idle_w * duration_s

    def step(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.energy_j += self.busy_w * duration_s


def _duty(work: _Work, maximum_w: float = 1000.0) -> DutyCycle:
    limits = Limits(minimum=work.idle_w * 1.05 + 1, maximum=maximum_w, default=maximum_w, current=maximum_w)
    return DutyCycle({"gpu:0": limits}, lambda device: work.energy_j, clock=lambda: work.now_s, sleep=work.sleep)


@settings(max_examples=60)
@given(
    busy_w=st.floats(200, 700),
    idle_share=st.floats(0, 0.5),
    cap_share=st.floats(0.3, 1.5),
    step_s=st.floats(0.001, 3.0),
)
def test_duty_cycle_holds_the_average(busy_w: float, idle_share: float, cap_share: float, step_s: float) -> None:
    idle_w = busy_w * idle_share
    cap_w = max(idle_w + cap_share * (busy_w - idle_w), idle_w * 1.06 + 2)
    work = _Work(busy_w=busy_w, idle_w=idle_w)
    duty = _duty(work)
    duty.apply("gpu:0", cap_w)
    while work.now_s < 120 + 20 * step_s:
        work.step(step_s)
        duty.at_step()
    average_w = work.energy_j / work.now_s
    # What one step draws before it can be looked at cannot be held.
    assert average_w <= cap_w * 1.01 + busy_w * max(step_s, 0.3) / work.now_s
    assert average_w >= min(cap_w, busy_w) * 0.93
    if cap_w > busy_w:
        assert duty.paused_s == 0


def test_duty_cycle_never_stops_the_work_for_good() -> None:
    work = _Work(busy_w=300, idle_w=250)
    duty = _duty(work)
    duty.apply("gpu:0", 200)
    steps = 0
    while work.now_s < 1000:
        work.step(1.0)
        duty.at_step()
        steps += 1
    assert steps >= 45


def test_duty_cycle_at_its_maximum_holds_nothing_and_needs_no_journal(state: Path, warnings: list[str]) -> None:
    work = _Work(busy_w=600, idle_w=60)
    duty = _duty(work, maximum_w=700)
    with Guard(duty, warn=warnings.append) as guard:
        guard.apply("gpu:0", 300)
        work.step(10)
        assert duty.at_step() > 5
        assert duty.bound("gpu:0") is True
        guard.apply("gpu:0", None)
        work.step(10)
        assert duty.at_step() == 0
        assert duty.bound("gpu:0") is None
    assert not state.exists()
    assert "saves no energy" in duty.note


def test_unused_energy_of_a_duty_cycle_expires() -> None:
    work = _Work(busy_w=600, idle_w=0)
    duty = _duty(work)
    duty.apply("gpu:0", 300)
    work.sleep(3600)
    duty.at_step()
    work.step(10)
    assert duty.at_step() == pytest.approx((6000 - 300 * 10 - 600) / 300, abs=0.1)


def test_a_duty_cycle_needs_something_that_is_metered() -> None:
    with pytest.raises(ConfigError, match="no device is metered"):
        open_actuator("duty_cycle", ActuatorSettings())


def test_simulated_devices_are_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVERWINTER_SIMULATED_DEVICES", raising=False)
    for reported in (ActuatorSettings(), ActuatorSettings(simulated_root=tmp_path / "none")):
        with pytest.raises(ConfigError, match=r"no simulated device.*Set OVERWINTER_SIMULATED_DEVICES"):
            open_actuator("simulated", reported)
    SimulatedLimit.make(tmp_path, "toy", minimum_w=100, maximum_w=300, limit_w=280)
    monkeypatch.setenv("OVERWINTER_SIMULATED_DEVICES", str(tmp_path))
    with contextlib.closing(open_actuator("simulated", ActuatorSettings())) as actuator:
        assert actuator.limits("toy") == Limits(minimum=100, maximum=300, default=300, current=280)
