"""The stand-in NVIDIA driver library as tests use it: built once, its devices visible to every process.

    machine = StandIn(tmp_path)                       # compiles nvml.c where needed, one device of 700 W
    machine.enter(monkeypatch)                        # this process's pynvml and every child's use it
    subprocess.run(..., env={**os.environ, **machine.environment})
    machine.device(0).limit_mw                        # what holds, anyone who set it

Load it by path (`tests` is no package): see `load_stand_in` in tests/power/conftest.py.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).with_name("nvml.c")
_MOST = 8
_REAL_CDLL = ctypes.CDLL


class Device(ctypes.Structure):
    """`struct device` of nvml.c: milliwatts, millijoules, megahertz."""

    _fields_ = [
        ("uuid", ctypes.c_char * 64),
        ("name", ctypes.c_char * 64),
        ("bus_id", ctypes.c_char * 64),
        *(
            (name, ctypes.c_uint64)
            for name in (
                "min_mw",
                "max_mw",
                "default_mw",
                "limit_mw",
                "operator_mw",
                "demand_mw",
                "idle_mw",
                "max_clock_mhz",
                "locked_clock_mhz",
                "lost",
                "sets",
                "has_counter",
                "energy_mj",
                "frozen",
                "ignores_limit",
                "counted_ns",
                "counted_nj",
            )
        ),
    ]


class Machine(ctypes.Structure):
    """`struct machine` of nvml.c."""

    _fields_ = [
        ("count", ctypes.c_uint64),
        ("may_set", ctypes.c_uint64),
        ("broken", ctypes.c_uint64),
        ("start_ns", ctypes.c_uint64),
        ("devices", Device * _MOST),
    ]


class StandIn:
    """A machine with ``count`` GPUs of 200 to 700 W, limit 650 W, that would draw 500 W at work."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.state_path = folder / "nvml.state"
        self.state_path.write_bytes(bytes(ctypes.sizeof(Machine)))
        with self.state_path.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), 0)
        self.state = Machine.from_buffer(self._memory)
        self.state.count, self.state.may_set, self.state.start_ns = count, 1, time.monotonic_ns()
        for index in range(count):
            self._fill(self.state.devices[index], index)
        self.library = _built()

    def device(self, index: int = 0) -> Any:
        """Return one device; reading and writing its fields is seen by all processes."""
        return self.state.devices[index]

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to see this machine."""
        folders = [str(self.library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
        return {
            "OVERWINTER_STAND_IN_NVML": str(self.state_path),
            "LD_LIBRARY_PATH": ":".join(filter(None, folders)),
        }

    def enter(self, monkeypatch: Any) -> None:
        """Make this process, and those it starts, see the machine.

        A library's path is looked up when a process starts, so here `CDLL` is led to it; and since the
        library keeps the first machine it has seen, each test loads a copy of its own.
        """
        import pynvml

        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        copy = self.state_path.with_name("libnvidia-ml-here.so.1")
        shutil.copy(self.library, copy)

        def load(name: str | None, *arguments: Any, **keywords: Any) -> ctypes.CDLL:
            return _REAL_CDLL(str(copy) if name == "libnvidia-ml.so.1" else name, *arguments, **keywords)

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(pynvml, "CDLL", load)
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    @staticmethod
    def _fill(device: Any, index: int) -> None:
        device.uuid = f"GPU-00000000-0000-0000-0000-{index:012d}".encode()
        device.name = b"NVIDIA Stand-In 700W"
        device.bus_id = f"00000000:{index + 1:02X}:00.0".encode()
        device.min_mw, device.max_mw, device.default_mw, device.limit_mw = 200_000, 700_000, 700_000, 650_000
        device.demand_mw, device.idle_mw = 500_000, 60_000
        device.max_clock_mhz, device.has_counter = 1980, 1


def compiler() -> str | None:
    """Return the C compiler's path, if there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def _built() -> Path:
    """Compile the library once per source, into the machine's temporary folder."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"overwinter-nvml-{os.getuid()}-{digest}"
    library = folder / "libnvidia-ml.so.1"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        staging = folder / f"building-{os.getpid()}.so"
        # No soname: the loader would hand a library that has one to every later test that asks for the real driver.
        command = [compiler() or "cc", "-shared", "-fPIC", "-O1"]
        subprocess.run([*command, "-o", str(staging), str(_SOURCE)], check=True)
        staging.replace(library)
    return library
