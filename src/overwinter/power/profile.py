"""What a workload does under each limit, kept in a file: for this GPU model, driver and workload only."""

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
_REMEDY = "Delete it, or name another place in power.profile; it is measured again."


@dataclass(frozen=True, kw_only=True)
class ProfileKey:
    """What a profile holds for.

    Attributes:
        device_model: as the driver names it, with how many there are; the CPU's name where that is limited.
        driver: what sets the limit, and its version: a GPU's driver, or the kernel.
        workload: digest of what makes the work what it is; see `workload_digest`.
    """

    device_model: str
    driver: str
    workload: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of one workload on one kind of device.

    Attributes:
        key: what it holds for.
        points: one per limit, in rising order.
    """

    key: ProfileKey
    points: tuple[OperatingPoint, ...]


def workload_digest(description: Mapping[str, Any]) -> str:
    """Return the digest of a workload's description: model, batch size, precision, devices; plain JSON values."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def save_profile(path: Path, profile: Profile) -> None:
    """Write ``profile`` to ``path``, whole or not at all."""
    write_json(path, {"schema": _SCHEMA, **asdict(profile)})


def load_profile(path: Path, key: ProfileKey) -> Profile:
    """Read a profile that was made for ``key``.

    Raises:
        ConfigError: it was made for another device, driver or workload.
        IntegrityError: it is missing, or no profile.
    """
    content = read_json(path, remedy=_REMEDY)
    profile = _parsed(path, content)
    for name, expected in asdict(key).items():
        found = getattr(profile.key, name)
        if found != expected:
            raise ConfigError(
                f"power.profile={path} was made for {name.replace('_', ' ')} {found!r}, and this is {expected!r}. "
                f"{_REMEDY}"
            )
    return profile


def _parsed(path: Path, content: Any) -> Profile:
    try:
        if content["schema"] != _SCHEMA:
            raise IntegrityError(f"{path} has schema {content['schema']!r}, and {_SCHEMA} is known. {_REMEDY}")
        key = ProfileKey(**{name: str(value) for name, value in content["key"].items()})
        points = tuple(_point(**point) for point in content["points"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path} is no profile: {error!r}. {_REMEDY}") from None
    if not all(_is_sensible(point) for point in points):
        raise IntegrityError(f"{path} has a point without a positive limit, power, speed and trials. {_REMEDY}")
    return Profile(key=key, points=tuple(sorted(points, key=lambda point: point.limit_w)))


def _is_sensible(point: OperatingPoint) -> bool:
    return all(math.isfinite(value) and value > 0 for value in astuple(point))


def _point(limit_w: Any, power_w: Any, speed_per_s: Any, trials: Any = 1) -> OperatingPoint:
    return OperatingPoint(
        limit_w=float(limit_w), power_w=float(power_w), speed_per_s=float(speed_per_s), trials=int(trials)
    )
