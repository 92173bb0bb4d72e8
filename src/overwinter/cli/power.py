"""`overwinter power status | profile`: show power limits and who may set them; find the best limit of a command."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import EXIT_DONE, ConfigError, OverwinterError

if TYPE_CHECKING:
    from overwinter.power.actuators import Actuator
    from overwinter.power.control.profiling import ProfilePoint
    from overwinter.power.guard.status import PowerStatus
    from overwinter.power.interface import OperatingPoint
    from overwinter.power.profile_store import ProfileStore

_MAX_LIMITS = 50
_NOTHING_TO_FIND = (
    "A best limit needs a device with a power limit: a duty cycle only pauses a stage between its steps, and saves "
    "no energy by itself."
)
_STANDARD_ERROR = 2  # standard output is only for the result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare both subjects and their arguments."""
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    status = subjects.add_parser(
        "status", help="show devices, limits, who may set them, and limits that killed runs left set"
    )
    status.add_argument("--restore", action="store_true", help="restore limits that killed runs left set")
    status.add_argument("--json", action="store_true", help="print JSON")
    profile = subjects.add_parser("profile", help="find the limit at which a command uses the least energy")
    profile.add_argument(
        "--limits", type=int, default=8, metavar="N", help="number of evenly spaced limits to choose from (8)"
    )
    profile.add_argument("--every", action="store_true", help="try all limits, not only the promising ones")
    profile.add_argument(
        "--max-slowdown",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="allowed increase of the run time; 0.1 is 10 %% (0.1)",
    )
    profile.add_argument(
        "--actuator",
        default="auto",
        metavar="NAME",
        help="what sets the limit: nvml, zeusd or rapl (the first that works)",
    )
    profile.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file to keep the result in, which the next call reads instead of measuring again",
    )
    profile.add_argument("--json", action="store_true", help="print JSON")
    profile.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="command to run")


def run(arguments: argparse.Namespace) -> int:
    """Run the subject."""
    return _status(arguments) if arguments.subject == "status" else _profile(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from overwinter.power.guard.status import power_status, restore_left_behind

    restored = restore_left_behind() if arguments.restore else []
    status = power_status(_settings())
    if arguments.json:
        content = status.to_json() | ({"restored": restored} if arguments.restore else {})
        print(json.dumps(content, indent=2))
        return EXIT_DONE
    for line in [*restored, *_status_lines(status)]:
        print(line)
    return EXIT_DONE


def _status_lines(status: PowerStatus) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("device", "set by", "lowest", "highest", "default", "set", "enforced", "settable by this process")
    ]
    rows += [
        (
            each.device,
            each.actuator,
            *(
                _figure(value, each.unit)
                for value in (each.minimum, each.maximum, each.default, each.current, each.enforced)
            ),
            "yes" if each.may_set else f"no: {each.who}",
        )
        for each in status.devices
    ]
    lines = _columns(rows) if status.devices else ["No device here has a power limit."]
    lines += [f"{name}: {reason}" for name, reason in status.unavailable.items()]
    for journal in status.journals:
        holders = f" by process {', '.join(map(str, journal.holders))}" if journal.holders else ""
        values = "" if journal.ours is None else f", at {journal.ours:g}, to be restored to {journal.previous:g}"
        lines.append(f"{journal.setting}: {journal.state}{holders}{values}")
    if any(journal.state == "left behind" for journal in status.journals):
        lines.append("Run `overwinter power status --restore` to restore the previous limits.")
    return lines


def _profile(arguments: argparse.Namespace) -> int:
    from overwinter.power.control.profiling import best

    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    _refuse_wrong(arguments, words)
    actuator = _opened(arguments.actuator)
    store = _store(arguments.output, words)
    known = store.of(actuator) if store is not None else ()
    if known:
        print(f"overwinter: found in {arguments.output}; delete it to measure again", file=sys.stderr)
        points = _stored_points(known)
        actuator.close()
    else:
        points = _measured(actuator, words, arguments)
    devices = actuator.devices()
    _notify(points, best(points, max_slowdown=arguments.max_slowdown), words, devices, arguments)
    if store is not None and not known:
        store.keep([point.operating() for point in reversed(points)])
    return EXIT_DONE


def _opened(name: str) -> Actuator:
    from overwinter.power.actuators import open_actuator

    if name == "duty_cycle":
        raise ConfigError(f"--actuator duty_cycle: {_NOTHING_TO_FIND}")
    try:
        return open_actuator(name, _settings())
    except ConfigError as error:
        raise ConfigError(f"{error}\n{_NOTHING_TO_FIND}") from None


def _measured(actuator: Actuator, words: Sequence[str], arguments: argparse.Namespace) -> list[ProfilePoint]:
    from overwinter.energy import open_meter
    from overwinter.energy.metering import meter_settings as metering
    from overwinter.power.actuators import DeniedError
    from overwinter.power.control.profiling import profile, spread
    from overwinter.power.guard.guard import Guard

    permission = actuator.permission()
    if not permission.granted:
        raise DeniedError(f"This process may not set power limits; {permission.who}.")
    energy, hardware = metering()

    def energy_j() -> dict[str, float]:
        return {part.device: part.energy_j for part in meter.read().components}

    with Guard(actuator, warn=_warn) as guard, open_meter(energy, hardware, own_process=False) as meter:
        limits_w = spread(guard, arguments.limits)
        slowdown = None if arguments.every else arguments.max_slowdown
        return profile(guard, lambda: _run_once(words), energy_j, limits_w=limits_w, max_slowdown=slowdown)


def _store(path: Path | None, words: Sequence[str]) -> ProfileStore | None:
    """Return the store of one command's profile; the command's words identify the workload."""
    if path is None:
        return None
    from overwinter.power.profile import workload_digest
    from overwinter.power.profile_store import ProfileStore

    return ProfileStore(path, workload=workload_digest({"command": list(words)}), writes=True)


def _stored_points(known: Sequence[OperatingPoint]) -> list[ProfilePoint]:
    from overwinter.power.control.profiling import ProfilePoint

    return [ProfilePoint.stored(point, known[-1].speed_per_s) for point in reversed(known)]


def _refuse_wrong(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    if not words:
        raise ConfigError("overwinter power profile needs a command: overwinter power profile -- python train.py")
    if not 2 <= arguments.limits <= _MAX_LIMITS:
        raise ConfigError(f"--limits {arguments.limits} must be between 2 and {_MAX_LIMITS}.")
    if not arguments.max_slowdown >= 0:
        raise ConfigError(f"--max-slowdown {arguments.max_slowdown} must be 0 or more; 0.1 is 10 % longer.")


def _run_once(words: Sequence[str]) -> None:
    try:
        code = subprocess.run(words, stdout=_STANDARD_ERROR, check=False).returncode
    except OSError as error:
        raise ConfigError(f"{words[0]}: {error.strerror}. Name a command that can be run.") from None
    if code:
        raise OverwinterError(
            f"{words[0]} exited with {code}; every limit was restored. Make the command succeed first."
        )


def _notify(
    points: Sequence[ProfilePoint],
    chosen: ProfilePoint,
    words: Sequence[str],
    devices: Sequence[str],
    arguments: argparse.Namespace,
) -> None:
    if arguments.json:
        content: dict[str, Any] = {"command": list(words), "devices": list(devices)}
        content |= {"max_slowdown": arguments.max_slowdown, "points": [each.to_json() for each in points]}
        print(json.dumps(content | {"best": chosen.to_json()}, indent=2))
        return
    from overwinter.units import format_duration, format_si

    rows = [("limit", "energy", "time", "slow-down")]
    rows += [
        (
            f"{each.limit_w:g} W",
            format_si(each.energy_j, "J"),
            format_duration(each.duration_s),
            f"{each.slowdown:+.1%}",
        )
        for each in points
    ]
    print("\n".join(_columns(rows)))
    saved = 1 - chosen.energy_j / points[0].energy_j if points[0].energy_j else 0.0
    print(f"{len(points)} of {arguments.limits} limits were tried.")
    print(f"Least energy within {arguments.max_slowdown:.0%}: {chosen.limit_w:g} W, {saved:.1%} less than unlimited.")


def _settings() -> Any:
    from overwinter.energy.metering import meter_settings as metering
    from overwinter.power.actuators import ActuatorSettings

    energy, _ = metering()
    return ActuatorSettings(powercap_root=Path(energy.rapl_root))


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _figure(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:g} {unit}"


def _warn(text: str) -> None:
    print(f"overwinter: {text}", file=sys.stderr)
