"""CUDA is waited for only where it is in use, and whatever happens there stays there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.energy.cuda import synchronize


class StandInCuda:
    """Three GPUs; this process computes on 0 (the current one) and 2."""

    def __init__(self, *, initialized: bool = True, capturing: bool = False, broken: bool = False) -> None:
        self.waited: list[int] = []
        self._initialized, self._capturing, self._broken = initialized, capturing, broken

    def is_initialized(self) -> bool:
        return self._initialized

    def is_current_stream_capturing(self) -> bool:
        return self._capturing

    def device_count(self) -> int:
        return 3

    def current_device(self) -> int:
        return 0

    def memory_reserved(self, index: int) -> int:
        return 4096 if index == 2 else 0

    def synchronize(self, index: int) -> None:
        if self._broken:
            raise RuntimeError("device-side assert triggered")
        self.waited.append(index)


@pytest.mark.parametrize(
    ("state", "waited"),
    [({}, [0, 2]), ({"initialized": False}, []), ({"capturing": True}, []), ({"broken": True}, [])],
)
def test_only_devices_in_use(monkeypatch: pytest.MonkeyPatch, state: dict[str, bool], waited: list[int]) -> None:
    cuda = StandInCuda(**state)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    synchronize()
    assert cuda.waited == waited


def test_windows_are_edged_by_a_wait(monkeypatch: pytest.MonkeyPatch, energy_config: Any, hardware_config: Any) -> None:
    from overwinter.energy import open_meter

    cuda = StandInCuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with open_meter(energy_config, hardware_config) as meter:
        window = meter.window("w")
        opened = len(cuda.waited)
        window.read()
        assert len(cuda.waited) == opened  # reading in the middle does not hold the work up
        window.close()
        assert len(cuda.waited) == opened + 2


def test_torch_is_not_imported_for_it() -> None:
    code = "import sys, overwinter.energy.cuda as cuda; cuda.synchronize(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
