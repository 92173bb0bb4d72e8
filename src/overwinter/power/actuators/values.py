"""Values of actuators: ranges, permissions, settings and errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overwinter.errors import ConfigError, OverwinterError

_CAP_SYS_ADMIN = 21  # capabilities(7)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The range of a device's limit, in watts or megahertz.

    Attributes:
        minimum: the lowest supported limit.
        maximum: the highest supported limit.
        default: the vendor's default limit.
        current: the current limit; None if the device does not report it.
    """

    minimum: float
    maximum: float
    default: float
    current: float | None


@dataclass(frozen=True, kw_only=True)
class Permission:
    """This process's permission to set limits.

    Attributes:
        granted: False if an attempt would be refused.
        who: who may set limits, or how to obtain the permission; empty if granted.
    """

    granted: bool
    who: str = ""


@dataclass(frozen=True, kw_only=True)
class ActuatorSettings:
    """Settings that actuators are opened with.

    Attributes:
        powercap_root: root of Linux's powercap tree, for containers that mount it elsewhere.
        zeusd_socket: path of zeusd's socket; None: ZEUSD_SOCK_PATH, then the documented paths.
        simulated_root: folder of simulated devices; None: OVERWINTER_SIMULATED_DEVICES.
        duty_devices: range of each device that the duty cycle can limit.
        energy_j: returns the joules that a device has drawn since a fixed time, for the duty cycle.
    """

    powercap_root: Path = Path("/sys/class/powercap")
    zeusd_socket: str | None = None
    simulated_root: Path | None = None
    duty_devices: Mapping[str, Limits] = field(default_factory=dict)
    energy_j: Callable[[str], float] | None = None


class DeniedError(ConfigError):
    """This process has no permission to set the limit."""


class DeviceLostError(OverwinterError):
    """The device no longer responds."""


class LimitError(ConfigError):
    """The device does not support the limit."""


def may_administer() -> bool:
    """Return whether this process has CAP_SYS_ADMIN, which NVML requires; root in most containers has not."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.geteuid() == 0
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)
