"""Machines for one test: GPUs of the stand-in driver library, a powercap tree, simulated devices."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_STAND_IN = Path(__file__).parents[1] / "stand_in" / "nvml.py"


def load_stand_in() -> ModuleType:
    """Load tests/stand_in/nvml.py, once."""
    name = "overwinter_stand_in_nvml"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _STAND_IN)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two GPUs, seen by this process and its children."""
    module = load_stand_in()
    if module.compiler() is None:
        pytest.skip("the stand-in NVML library needs a C compiler")
    machine = module.StandIn(tmp_path, count=2)
    machine.enter(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return machine


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of journals for this test alone."""
    folder = tmp_path / "power-state"
    monkeypatch.setenv("OVERWINTER_POWER_STATE", str(folder))
    return folder


@pytest.fixture
def warnings() -> list[str]:
    """Lines reported to the user."""
    return []


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """A powercap tree: two packages of 125 W and 250 W short-term, with cores inside, and psys."""
    root = tmp_path / "powercap"
    for index in range(2):
        _zone(root / f"intel-rapl:{index}", f"package-{index}", 125_000_000, 250_000_000)
        _zone(root / f"intel-rapl:{index}:0", "core", None, None)
    _zone(root / "intel-rapl:2", "psys", None, None)
    return root


def _zone(folder: Path, name: str, long_uw: int | None, short_uw: int | None) -> None:
    folder.mkdir(parents=True)
    files = {"name": name, "energy_uj": 1_000_000, "max_energy_range_uj": 262_143_328_850, "enabled": 1}
    if long_uw is not None:
        files |= {"constraint_0_name": "long_term", "constraint_0_power_limit_uw": long_uw}
        files |= {"constraint_0_max_power_uw": long_uw}
        files |= {"constraint_1_name": "short_term", "constraint_1_power_limit_uw": short_uw}
    for file, content in files.items():
        (folder / file).write_text(f"{content}\n")


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool], float], bool]:
    """Wait until a condition holds, and return whether it did in time."""
    import time

    def wait(holds: Callable[[], bool], patience_s: float) -> bool:
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            if holds():
                return True
            time.sleep(0.005)
        return holds()

    return wait
