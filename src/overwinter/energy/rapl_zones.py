"""The power zones of Linux's powercap tree, and the choice of zones that count each joule once.

A package includes its cores, and psys includes the packages, so these are never added. `intel-rapl-mmio` shows the
same counters again. https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ZONE = re.compile(r"[a-z-]*rapl[a-z-]*(:[0-9a-f]+)+")  # the kernel counts zones in hexadecimal
_PACKAGE = re.compile(r"package-\d+")
_INSIDE = ("core", "uncore")
_MAX_UJ = 2**64


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A power zone with a counter.

    Attributes:
        device: `cpu:package-0`, `ram:package-0` or `platform`; `cpu:intel-rapl:0` for a zone without a name.
        folder: The folder in the powercap tree.
        package: The package of the zone; dies of one package share it.
    """

    device: str
    folder: Path
    package: str

    @property
    def domain(self) -> str:
        """`cpu`, `ram` or `platform`."""
        return self.device.split(":")[0]

    @property
    def nameless(self) -> bool:
        """Whether the zone has no name, so that it is assumed to be a package."""
        return self.device == f"cpu:{self.folder.name}"

    @property
    def refusal(self) -> str:
        """Reason why this process cannot read the counter; empty if it can."""
        try:
            self.energy_uj()
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
        return ""

    @property
    def readable(self) -> bool:
        """Whether this process may read the counter."""
        return not self.refusal

    def energy_uj(self) -> int:
        """Read the counter, in microjoules."""
        return _number(self.folder / "energy_uj")

    def range_uj(self) -> int | None:
        """Return the value at which the counter wraps, in microjoules; None if not reported."""
        try:
            return _number(self.folder / "max_energy_range_uj") or None
        except (OSError, ValueError):
            return None

    def __str__(self) -> str:
        return self.device if self.folder.name in self.device else f"{self.device} ({self.folder.name})"


def find_zones(root: Path) -> list[Zone]:
    """Return every package, memory and psys zone under ``root``, readable or not, in flat and nested layouts."""
    folders = dict(sorted(_folders(root).items(), key=lambda item: _order(item[0])))
    labels = {name: _label(folder) for name, folder in folders.items()}
    zones = [_zone(name, folder, labels) for name, folder in folders.items()]
    return _disambiguated([zone for zone in zones if zone is not None])


def choose(zones: Iterable[Zone]) -> list[Zone]:
    """Return zones that do not overlap: packages and their memory, including those that cannot be read.

    Psys, which includes them all, is chosen if there is no package, or one that cannot be read.
    """
    once = one_of_each(zones)
    packages = [zone for zone in once if zone.domain == "cpu"]
    psys = [zone for zone in once if zone.domain == "platform" and (zone.readable or not packages)]
    if psys and not (packages and all(zone.readable for zone in packages)):
        return psys
    return [zone for zone in once if zone.domain != "platform"]


def one_of_each(zones: Iterable[Zone]) -> list[Zone]:
    """Return one zone per counter: a readable one, and a memory-mapped one only if there is no other."""
    by_device: dict[str, Zone] = {}
    for zone in sorted(zones, key=lambda zone: (not zone.readable, _is_twin(zone.folder.name))):
        by_device.setdefault(zone.device, zone)
    return sorted(by_device.values(), key=lambda zone: _order(zone.folder.name))


def zone_names(root: Path) -> set[str]:
    """Return the names of the packages directly under ``root``, which may appear while the machine runs."""
    try:
        names = os.listdir(root)
    except OSError:
        return set()
    return {name for name in names if name.count(":") == 1 and _ZONE.fullmatch(name) and not _is_twin(name)}


def _folders(root: Path) -> dict[str, Path]:
    """Return zones by name, without following links deeper than needed, since links in sysfs form cycles."""
    found: dict[str, Path] = {}
    for pattern in ("*", "*/*", "*/*/*"):
        for path in sorted(_glob(root, pattern)):
            if _ZONE.fullmatch(path.name) and _is_folder(path):
                found.setdefault(path.name, path)
        if found:
            break
    for name, path in list(found.items()):
        for inside in sorted(_glob(path, f"{name}:*")):
            found.setdefault(inside.name, inside)
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _zone(name: str, folder: Path, labels: dict[str, str]) -> Zone | None:
    """Return the zone of a folder; None for a part of another zone that is counted."""
    label, parent = labels[name], name.rpartition(":")[0]
    if label == "psys":
        return Zone(device="platform", folder=folder, package="")
    if label == "dram":
        owner = labels.get(_main(parent, labels), "") or parent
        return Zone(device=f"ram:{owner}", folder=folder, package=_package(owner))
    if label in _INSIDE or name.count(":") > 1:
        return None
    zone_label = label or labels.get(_main(name, labels), "") or _main(name, labels)
    return Zone(device=f"cpu:{zone_label}", folder=folder, package=_package(zone_label))


def _main(name: str, labels: dict[str, str]) -> str:
    """Return the name of the zone that ``name`` duplicates, if the tree has it, else ``name``."""
    kind, _, place = name.partition(":")
    main = f"{kind.removesuffix('-mmio')}:{place}"
    return main if main in labels else name


def _disambiguated(zones: list[Zone]) -> list[Zone]:
    """Make the names of zones unique: old kernels use the same name for all dies of a package."""
    seen: set[tuple[str, bool]] = set()
    apart: list[Zone] = []
    for zone in zones:
        key = (zone.device, _is_twin(zone.folder.name))
        twice = key in seen and zone.domain != "platform"
        device = f"{zone.device}-{zone.folder.name}" if twice else zone.device
        apart.append(Zone(device=device, folder=zone.folder, package=zone.package))
        seen.add(key)
    return apart


def _package(label: str) -> str:
    found = _PACKAGE.match(label)
    return found[0] if found else label


def _is_twin(name: str) -> bool:
    return "mmio" in name


def _order(name: str) -> tuple[str, list[int]]:
    kind, *places = name.split(":")
    return kind, [int(place, 16) for place in places]


def _label(folder: Path) -> str:
    try:
        return (folder / "name").read_bytes().decode(errors="replace").strip().lower()
    except OSError:
        return ""


def _number(path: Path) -> int:
    value = int(path.read_bytes().decode("ascii").strip())
    if not 0 <= value < _MAX_UJ:
        raise ValueError(f"{path} contains {value}")
    return value


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from root.glob(pattern)
    except OSError:
        return
