"""`overwinter measure [--json] -- COMMAND`: like `time`, for joules, of any command and its children."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
    from overwinter.energy import EnergyReport

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_SENT_BY_KERNEL = 0x80  # si_code of a key pressed at the terminal, which the command has received itself
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, and the command as it stands."""
    parser.add_argument("--json", action="store_true", help="report as JSON on standard error")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the JSON report to this file instead")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run and measure")


def run(arguments: argparse.Namespace) -> int:
    """Run the command, report what it drew on standard error, and return its exit code.

    Raises:
        ConfigError: no command, or a wrong setting.
    """
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise ConfigError("overwinter measure needs a command: overwinter measure -- python train.py")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    try:
        exit_code, report = _measured(words, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if report is not None:
        _tell(report, words, exit_code, arguments)
    return exit_code


def _measured(words: Sequence[str], mask: set[Any]) -> tuple[int, EnergyReport | None]:
    """Run the command under a meter. Signals are blocked here, and waited for; the command gets ``mask``."""
    from overwinter.energy import open_meter

    energy, hardware = meter_settings()
    with open_meter(energy, hardware, own_process=False) as meter:
        try:
            pid = _spawn(words, mask)
        except FileNotFoundError:
            return _failed(words, "no such command", _NOT_FOUND), None
        except OSError as error:
            return _failed(words, error.strerror or str(error), _NOT_EXECUTABLE), None
        exit_code = _wait(pid)
        return exit_code, meter.close()


def _spawn(words: Sequence[str], mask: set[Any]) -> int:
    """Start the command with the signals as they were before Python changed them."""
    changed = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores these two, and a child would inherit that
    return os.posix_spawnp(words[0], list(words), os.environ, setsigmask=mask, setsigdef=changed)


def _wait(pid: int) -> int:
    """Wait for the command, forwarding signals; return its exit code, or 128 + N if signal N killed it."""
    while True:
        told = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
        if told.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif told.si_code != _SENT_BY_KERNEL:
            os.kill(pid, told.si_signo)


def meter_settings() -> tuple[EnergyConfig, HardwareConfig]:
    """Read the groups `energy` and `hardware`: of this project's params.yaml, else the defaults.

    Composing with Hydra would take longer than many a command; here plain YAML does.
    """
    groups = _project_groups() or {
        "energy": _default("energy/default"),
        "hardware": _default("hardware/auto"),
    }
    energy = SimpleNamespace(**{**groups["energy"], "idle_probe_s": 0.0, "cross_check": "none"})
    return cast("EnergyConfig", energy), cast("HardwareConfig", SimpleNamespace(**groups["hardware"]))


def _project_groups() -> dict[str, Any] | None:
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".dvc").is_dir():
            params = folder / "params.yaml"
            groups = _yaml(params) if params.is_file() else {}
            return groups if {"energy", "hardware"} <= groups.keys() else None
    return None


def _default(name: str) -> dict[str, Any]:
    """Read a group's file as it was installed, or of the checkout."""
    package = Path(__file__).parents[1]
    roots = (package / "project" / "configs", package.parents[1] / "configs")
    return _yaml(next(root for root in roots if root.is_dir()) / f"{name}.yaml")


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 -- both are safe loaders
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Run `overwinter compose`.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings. Run `overwinter compose`.")
    return content


def _failed(words: Sequence[str], reason: str, exit_code: int) -> int:
    print(f"overwinter: {words[0]}: {reason}", file=sys.stderr)
    return exit_code


def _tell(report: EnergyReport, words: Sequence[str], exit_code: int, arguments: argparse.Namespace) -> None:
    content = {"command": list(words), "exit_code": exit_code, **report.to_json()}
    if arguments.output:
        from overwinter.files import write_json

        write_json(arguments.output, content)
    elif arguments.json:
        print(json.dumps(content), file=sys.stderr)
    else:
        print("\n".join(_table(report)), file=sys.stderr)


def _table(report: EnergyReport) -> list[str]:
    """Lines for a person; plain, since a table library takes longer to load than many a command to run."""
    from overwinter.units import format_duration, format_si

    rows = [("device", "source", "energy", "uncertainty", "average", "peak")]
    rows += [
        (
            part.device,
            part.source,
            format_si(part.energy_j, "J"),
            f"± {format_si(part.uncertainty_j, 'J')}",
            format_si(part.average_w, "W"),
            format_si(part.peak_w, "W"),
        )
        for part in report.components
    ]
    rows.append(("total", "", format_si(report.energy_j, "J"), f"± {format_si(report.uncertainty_j, 'J')}", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(f"{format_duration(report.duration_s)}, {report.measured_fraction:.0%} measured, the rest modelled")
    if report.idle_j is not None and report.above_idle_j is not None:
        lines.append(f"idle {format_si(report.idle_j, 'J')}, above idle {format_si(report.above_idle_j, 'J')}")
    return lines + [f"warning: {text}" for text in report.warnings]
