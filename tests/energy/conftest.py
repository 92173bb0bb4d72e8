"""Settings from configs/, a clock moved by hand, powercap trees, and a scripted stand-in NVML library."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
from overwinter.energy.channel import Channel
from overwinter.energy.clocks import SuspendWatch
from overwinter.energy.meter import EnergyMeter
from overwinter.energy.notices import Notices
from overwinter.energy.opening import Opening

_CONFIGS = Path(__file__).parents[2] / "configs"
_SOURCE = Path(__file__).with_name("standin_nvml.c")


@pytest.fixture
def energy_config(tmp_path: Path) -> EnergyConfig:
    """The defaults, with an empty powercap tree and no idle probe."""
    config = EnergyConfig(**yaml.safe_load((_CONFIGS / "energy" / "default.yaml").read_text()))
    roots = {f"{tree}_root": str(tmp_path / tree) for tree in ("hwmon", "power_supply")}
    return dataclasses.replace(config, rapl_root=str(tmp_path / "powercap"), idle_probe_s=0.0, **roots)


@pytest.fixture
def hardware_config() -> HardwareConfig:
    """The defaults, for a machine whose busy threads draw 10 W."""
    config = HardwareConfig(**yaml.safe_load((_CONFIGS / "hardware" / "auto.yaml").read_text()))
    return dataclasses.replace(config, cpu_tdp_w=40.0, cpu_threads=4)


@pytest.fixture
def opening(energy_config: EnergyConfig, hardware_config: HardwareConfig) -> Opening:
    """An opening whose warnings a test finds in `opening.warnings`."""
    messages: list[str] = []
    opening = Opening(energy=energy_config, hardware=hardware_config, warn=messages.append)
    opening.warnings = messages  # type: ignore[attr-defined]
    return opening


class Clock:
    """Monotonic seconds that only advance when set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def forward(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    """A clock to move by hand."""
    return Clock()


@pytest.fixture
def hand_driven(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EnergyMeter]:
    """Build a meter on the hand-moved clock whose sampler never ticks by itself: the test calls `tick`."""
    monkeypatch.setattr("overwinter.energy.sampler.Sampler.start", lambda self: None)
    monkeypatch.setattr("overwinter.energy.sampler.Sampler.stop", lambda self: self._stopped.set())

    def build(channels: list[Channel], opening: Opening | None = None, **more: Any) -> EnergyMeter:
        notices = Notices(clock)
        if opening is not None:
            for text in opening.warnings:  # type: ignore[attr-defined]
                notices.add(text)
            opening.warn = notices.add
            for channel in channels:
                channel._warn = notices.add
                for gauge in channel._gauges:
                    if hasattr(gauge, "_warn"):
                        gauge._warn = notices.add
        watch = more.pop("watch", None) or SuspendWatch(lambda: 0.0)
        return EnergyMeter(channels, interval_s=0.1, clock=clock, notices=notices, watch=watch, **more)

    return build


class PowercapTree:
    """A powercap tree in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def zone(self, folder: str, name: str, *, energy_uj: int = 0, range_uj: int = 262_143_328_850) -> Path:
        path = self.root / folder
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "energy_uj").write_text(f"{energy_uj}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        return path


@pytest.fixture
def powercap(tmp_path: Path) -> PowercapTree:
    """An empty powercap tree, which `energy_config.rapl_root` names."""
    return PowercapTree(tmp_path / "powercap")


class StandInSample(ctypes.Structure):
    """The C file's `struct sample`: what one process used."""

    _fields_ = (
        ("pid", ctypes.c_uint32),
        ("time_us", ctypes.c_uint64),
        ("sm", ctypes.c_uint32),
        ("memory", ctypes.c_uint32),
        ("encoder", ctypes.c_uint32),
        ("decoder", ctypes.c_uint32),
    )


class StandInDevice(ctypes.Structure):
    """One GPU of the stand-in: the C file's `struct device`."""

    _fields_ = (
        ("energy_mj", ctypes.c_uint64),
        ("power_mw", ctypes.c_uint32),
        ("limit_mw", ctypes.c_uint32),
        ("energy_rc", ctypes.c_int32),
        ("power_rc", ctypes.c_int32),
        ("hang_ms", ctypes.c_int32),
        ("migs", ctypes.c_uint32),
        ("uuid", ctypes.c_char * 96),
        ("mig_uuid", (ctypes.c_char * 96) * 2),
        ("use_rc", ctypes.c_int32),
        ("uses", StandInSample * 3),
    )


class StandInState(ctypes.Structure):
    """The C file's `struct state`."""

    _fields_ = (("init_rc", ctypes.c_int32), ("count", ctypes.c_uint32), ("devices", StandInDevice * 4))


@pytest.fixture(scope="session")
def standin_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, compiled as libnvidia-ml.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the stand-in NVML library with")
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)],
        check=True,
    )
    return library


@pytest.fixture
def standin_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInState]:
    """Two GPUs of 300 W, mapped from the file that the library maps too."""
    path = tmp_path / "nvml-state"
    path.write_bytes(bytes(ctypes.sizeof(StandInState)))
    monkeypatch.setenv("OVERWINTER_STANDIN_NVML", str(path))
    with path.open("r+b") as stream:
        state = StandInState.from_buffer(mmap.mmap(stream.fileno(), 0))
    state.count = 2
    for index, device in enumerate(state.devices):
        device.energy_mj, device.power_mw, device.limit_mw = 10**9, 100_000, 300_000
        device.uuid = f"GPU-{index}aaa-bbbb".encode()
    return state


@pytest.fixture
def nvml(standin_library: Path, standin_state: StandInState, monkeypatch: pytest.MonkeyPatch) -> StandInState:
    """The real pynvml on the stand-in library, in this process."""
    import pynvml

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(standin_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr("overwinter.energy.nvml.library_present", lambda: True)
    return standin_state
