"""Power caps: policies decide (`policies`), actuators apply, the guard puts everything back as it was.

- `PowerPolicy` answers an `Observation` with a `Decision`, and is pure; its settings (`PowerConfig`) make it.
- `planning` says how much work to do when; `simulation` replays recorded traces through the same policies.
- `Profile` keeps what a workload does under each limit, for one GPU model, driver and workload.
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

# Loaded when first used: the watchdog lives in this package and must start at once, without numpy.
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
