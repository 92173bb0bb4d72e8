"""Power limits: policies decide (`policies`), actuators apply, and the guard restores the previous limits.

- `PowerPolicy` is a pure function from an `Observation` to a `Decision`; its settings (`PowerConfig`) create it.
- `planning` distributes work over time; `simulation` replays recorded traces through the same policies.
- `Profile` stores a workload's power and speed under each limit, for one GPU model, driver and workload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.power.interface import (
        Decision,
        DeviceState,
        Job,
        Observation,
        OperatingPoint,
        PowerPolicy,
        Series,
    )
    from overwinter.power.profile import Profile, ProfileKey, load_profile, save_profile, workload_digest
    from overwinter.power.settings import (
        CappedPowerConfig,
        DeadlinePowerConfig,
        PowerConfig,
        ProfileUse,
        SearchingPowerConfig,
    )

__all__ = [
    "CappedPowerConfig",
    "DeadlinePowerConfig",
    "Decision",
    "DeviceState",
    "Job",
    "Observation",
    "OperatingPoint",
    "PowerConfig",
    "PowerPolicy",
    "Profile",
    "ProfileKey",
    "ProfileUse",
    "SearchingPowerConfig",
    "Series",
    "load_profile",
    "save_profile",
    "workload_digest",
]

# Loaded on first use: the watchdog is in this package and must start fast, without numpy.
_HOMES = {
    "CappedPowerConfig": "settings",
    "DeadlinePowerConfig": "settings",
    "Decision": "interface",
    "DeviceState": "interface",
    "Job": "interface",
    "Observation": "interface",
    "OperatingPoint": "interface",
    "PowerConfig": "settings",
    "PowerPolicy": "interface",
    "Profile": "profile",
    "ProfileKey": "profile",
    "ProfileUse": "settings",
    "SearchingPowerConfig": "settings",
    "Series": "interface",
    "load_profile": "profile",
    "save_profile": "profile",
    "workload_digest": "profile",
}

__getattr__ = lazily(__name__, _HOMES)
