"""The CPU of this machine, for its power model, read from /proc and the cgroup."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from overwinter.energy.cpu_table import design_power_w

_CPU_MAX = (Path("/sys/fs/cgroup/cpu.max"),)
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CPU_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The CPU of this machine.

    Attributes:
        cpu_name: The name in /proc/cpuinfo.
        threads: The number of visible hardware threads.
        packages: The number of sockets.
        virtual: Whether it is a virtual machine, which shows only a part of a package.
        allowed_threads: The number of threads this process may use at once, by affinity and cgroup quota.
    """

    cpu_name: str
    threads: int
    packages: int
    virtual: bool
    allowed_threads: float


def this_machine() -> Machine:
    """Describe this machine."""
    return parse_cpuinfo(_read(Path("/proc/cpuinfo")), threads=os.cpu_count() or 1, allowed=allowed_threads())


def parse_cpuinfo(text: str, *, threads: int, allowed: float) -> Machine:
    """Describe the machine whose /proc/cpuinfo is ``text``."""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:.*$", text, re.MULTILINE)
    return Machine(
        cpu_name=name[1].strip() if name else "unknown",
        threads=threads,
        packages=len(set(re.findall(r"^physical id\s*:\s*(\d+)$", text, re.MULTILINE))) or 1,
        virtual=" hypervisor" in (flags[0] if flags else ""),
        allowed_threads=min(allowed, threads),
    )


def allowed_threads() -> float:
    """Return the number of hardware threads this process may use at once."""
    affinity = float(len(os.sched_getaffinity(0)))
    return min(affinity, _quota() or affinity)


def thread_power_w(
    machine: Machine, *, cpu_tdp_w: float | None, cpu_threads: int | None, cpu_w_per_thread: float
) -> tuple[float, str]:
    """Return the watts of one busy hardware thread, and the origin of the figure.

    A configured design power wins, then CodeCarbon's table (not in a virtual machine), then
    ``cpu_w_per_thread``.
    """
    threads = cpu_threads or machine.threads
    if cpu_tdp_w is not None:
        return cpu_tdp_w / threads, f"hardware.cpu_tdp_w={cpu_tdp_w:g} over {threads} threads"
    if machine.virtual:
        return (
            cpu_w_per_thread,
            "hardware.cpu_w_per_thread, since a virtual machine shows only a part of its CPU",
        )
    power_w = design_power_w(machine.cpu_name)
    if power_w is None:
        return (
            cpu_w_per_thread,
            f"hardware.cpu_w_per_thread, since {machine.cpu_name!r} is not in CodeCarbon's table",
        )
    return (
        power_w * machine.packages / threads,
        f"{machine.packages} x {power_w:g} W ({machine.cpu_name}, CodeCarbon's table)",
    )


def _quota() -> float | None:
    """Return the CPU bandwidth of the cgroup in threads, version 2 or 1; None if unlimited."""
    for path in _CPU_MAX:
        quota, _, period = _read(path).partition(" ")
        if quota.strip().isdecimal() and period.strip().isdecimal():
            return int(quota) / int(period)
    quota, period = _read(_CPU_QUOTA).strip(), _read(_CPU_PERIOD).strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
