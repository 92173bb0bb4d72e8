"""What actuators exchange: ranges, permissions, settings, and the errors they raise."""

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
        minimum: the lowest that it takes.
        maximum: the highest.
        default: the maker's.
        current: what is set now; None where the device does not report.
    """

    minimum: float
    maximum: float
    default: float
    current: float | None


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Whether this process may set limits.

    Attributes:
        granted: False where the attempt would surely be refused.
        who: who could, and how to become that; empty where granted.
    """

    granted: bool
    who: str = ""


@dataclass(frozen=True, kw_only=True)
class ActuatorSettings:
    """What actuators are opened with.

    Attributes:
        powercap_root: Linux's powercap tree, for containers that mount it elsewhere.
        zeusd_socket: of zeusd; None takes ZEUSD_SOCK_PATH, then the documented places.
        simulated_root: folder in which simulated devices live; None takes OVERWINTER_SIMULATED_DEVICES.
        duty_devices: what the duty cycle can hold, with its range.
        energy_j: joules that a device has drawn since some fixed moment, for the duty cycle.
    """

    powercap_root: Path = Path("/sys/class/powercap")
    zeusd_socket: str | None = None
    simulated_root: Path | None = None
    duty_devices: Mapping[str, Limits] = field(default_factory=dict)
    energy_j: Callable[[str], float] | None = None


class DeniedError(ConfigError):
    """The limit may not be set by this process."""


class DeviceLostError(OverwinterError):
    """The device does not answer any more."""


class LimitError(ConfigError):
    """The limit is not one that the device takes."""


def may_administer() -> bool:
    """Whether this process has CAP_SYS_ADMIN, which NVML asks for (as root in most containers has not)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.geteuid() == 0
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)
