"""Sandbox settings of systemd units: systemd.exec(5), systemd.resource-control(5).

`systemd-analyze security` rates the exposure of a unit. The heading of the units gives the reason for each exception:
a GPU's devices, writable and executable memory for a runtime that compiles, the network for a carbon intensity source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

Settings = list[tuple[str, object]]

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 -- what the sandbox hides, not a place to write
_SHUT: Settings = [
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("UMask", "0077"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "tmpfs"),
    ("PrivateTmp", "yes"),
    ("PrivateUsers", "yes"),
    ("PrivateIPC", "yes"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
    ("ProtectProc", "invisible"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged"),
    ("SystemCallErrorNumber", "EPERM"),
]


def sandbox(
    user: str | None,
    *,
    gpu: bool = False,
    compiles: bool = False,
    near: bool = False,
    alone: bool = False,
) -> Settings:
    """Return the settings that isolate a service.

    Args:
        user: The service's user; None: one that exists only while it runs.
        gpu: Whether it opens NVIDIA's devices.
        compiles: Whether it compiles and runs machine code.
        near: Whether it connects only to this machine.
        alone: Whether it uses no network at all.
    """
    return [
        ("DynamicUser", "yes") if user is None else ("User", user),
        *_SHUT,
        *([] if compiles else [("MemoryDenyWriteExecute", "yes")]),
        *_devices(gpu),
        *_network(near=near, alone=alone),
    ]


def _devices(gpu: bool) -> Settings:
    if not gpu:
        return [("PrivateDevices", "yes"), ("DevicePolicy", "closed")]
    return [("DevicePolicy", "closed"), ("DeviceAllow", "char-nvidia* rw")]


def _network(*, near: bool, alone: bool) -> Settings:
    if alone:
        return [("PrivateNetwork", "yes"), ("RestrictAddressFamilies", "none"), ("IPAddressDeny", "any")]
    families: Settings = [("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX")]
    return [*families, ("IPAddressDeny", "any"), ("IPAddressAllow", "localhost")] if near else families


def hidden(paths: Iterable[Path]) -> list[Path]:
    """Return those of ``paths`` that the sandbox hides, each once; they must be bound."""
    return [path for path in dict.fromkeys(paths) if any(path.is_relative_to(place) for place in _HIDDEN)]


def bound(paths: Sequence[Path]) -> Settings:
    """Return the settings that bind ``paths`` into the sandbox, read-only."""
    return [("BindReadOnlyPaths", path_word(path)) for path in paths]


def path_word(path: Path) -> str:
    """Return a path, escaped for a setting that is a list of paths."""
    text = str(path)
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), (":", "\\:")):
        text = text.replace(plain, written)
    return f'"{text}"'


def world_readable(folder: Path) -> bool:
    """Return whether any user may read a folder with all its content and reach it from within the sandbox."""
    needed = [(path, 0o005 if path.is_dir() else 0o004) for path in [folder, *folder.rglob("*")]]
    above = [] if hidden([folder]) else folder.parents  # systemd creates the parents of a bound folder
    needed += [(path, 0o001) for path in above]
    return all(path.stat().st_mode & bits == bits for path, bits in needed)
