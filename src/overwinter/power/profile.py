"""Stored profiles: a workload's power and speed under each limit, for one GPU model, driver and workload."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError, IntegrityError
from overwinter.files import read_json, write_json
from overwinter.power.interface import OperatingPoint

_SCHEMA = 1
_REMEDY = "Delete it, or set power.profile to another folder; the profile is then measured again."


@dataclass(frozen=True, kw_only=True)
class ProfileKey:
    """Devices, driver and workload that a profile is valid for.

    Attributes:
        device_model: number and model of the limited GPUs, as the driver reports it, or the CPU's name.
        driver: name and version of what sets the limit: a GPU driver, or the kernel.
        workload: digest of the workload; see `workload_digest`.
    """

    device_model: str
    driver: str
    workload: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Operating points of one workload on one kind of device.

    Attributes:
        key: devices, driver and workload that it is valid for.
        points: one point per limit, in rising order.
    """

    key: ProfileKey
    points: tuple[OperatingPoint, ...]


def workload_digest(description: Mapping[str, Any]) -> str:
    """Return the digest of a workload's description: model, batch size, precision, devices; plain JSON values."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def save_profile(path: Path, profile: Profile) -> None:
    """Write ``profile`` to ``path`` atomically."""
    write_json(path, {"schema": _SCHEMA, **asdict(profile)})


def load_profile(path: Path, key: ProfileKey) -> Profile:
    """Read a profile that was measured for ``key``.

    Raises:
        ConfigError: it was measured for another device, driver or workload.
        IntegrityError: the file is missing, or not a profile.
    """
    content = read_json(path, remedy=_REMEDY)
    profile = _parsed(path, content)
    for name, expected in asdict(key).items():
        found = getattr(profile.key, name)
        if found != expected:
            raise ConfigError(
                f"power.profile={path} was measured for {name.replace('_', ' ')} {found!r}; this is {expected!r}. "
                f"{_REMEDY}"
            )
    return profile


def _parsed(path: Path, content: Any) -> Profile:
    try:
        if content["schema"] != _SCHEMA:
            raise IntegrityError(f"{path} has schema {content['schema']!r}; only {_SCHEMA} is supported. {_REMEDY}")
        key = ProfileKey(**{name: str(value) for name, value in content["key"].items()})
        points = tuple(_point(**point) for point in content["points"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path} is not a profile: {error!r}. {_REMEDY}") from None
    if not all(_is_positive(point) for point in points):
        raise IntegrityError(f"{path} has a point whose limit, power, speed or trials are not positive. {_REMEDY}")
    return Profile(key=key, points=tuple(sorted(points, key=lambda point: point.limit_w)))


def _is_positive(point: OperatingPoint) -> bool:
    return all(math.isfinite(value) and value > 0 for value in astuple(point))


def _point(limit_w: Any, power_w: Any, speed_per_s: Any, trials: Any = 1) -> OperatingPoint:
    return OperatingPoint(
        limit_w=float(limit_w), power_w=float(power_w), speed_per_s=float(speed_per_s), trials=int(trials)
    )
