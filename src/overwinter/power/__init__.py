"""Power caps: policies decide (`policies`), actuators apply, the guard puts everything back as it was.

- `PowerPolicy` answers an `Observation` with a `Decision`, and is pure; `open_policy` finds one by its name.
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
        Observation,
        OperatingPoint,
        PowerPolicy,
        Series,
    )
    from overwinter.power.policies.registry import open_policy, policy_names
    from overwinter.power.profile import Profile, ProfileKey, load_profile, save_profile, workload_digest

__all__ = [
    "Decision",
    "DeviceState",
    "Observation",
    "OperatingPoint",
    "PowerPolicy",
    "Profile",
    "ProfileKey",
    "Series",
    "load_profile",
    "open_policy",
    "policy_names",
    "save_profile",
    "workload_digest",
]

# Loaded when first used: the watchdog lives in this package and must start at once, without numpy.
_HOMES = {
    "Decision": "interface",
    "DeviceState": "interface",
    "Observation": "interface",
    "OperatingPoint": "interface",
    "PowerPolicy": "interface",
    "Profile": "profile",
    "ProfileKey": "profile",
    "Series": "interface",
    "load_profile": "profile",
    "open_policy": "policies.registry",
    "policy_names": "policies.registry",
    "save_profile": "profile",
    "workload_digest": "profile",
}

__getattr__ = lazily(__name__, _HOMES)
