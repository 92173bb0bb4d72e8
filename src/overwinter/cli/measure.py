"""`overwinter measure [--json] -- COMMAND`: measure the energy of a command and its children, as `time` does seconds.

The measurement ends with the command itself; a daemon that it leaves behind counts until then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.energy.metering import meter_settings, project_groups
from overwinter.errors import EXIT_FAILED, ConfigError, OverwinterError
from overwinter.outputs import check_output, write_output

if TYPE_CHECKING:
    from overwinter.cli.measure_ledger import Entry
    from overwinter.energy import EnergyMeter, EnergyRecord, EnergyReport

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_SENT_BY_KERNEL = 0x80  # si_code of a key pressed at the terminal: the command has received that signal itself
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, and the command as it stands."""
    from overwinter.outputs import output_path

    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard error")
    parser.add_argument(
        "--output", metavar="FILE", type=output_path, help="write the JSON report to this file, pipe or device instead"
    )
    parser.add_argument("--ledger", action="store_true", help="record energy and emissions in the project's ledger")
    parser.add_argument("--name", help="name in the ledger (the command's by default); implies --ledger")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="command to run and measure")


def run(arguments: argparse.Namespace) -> int:
    """Run the command, report what it drew, and return its exit code; 1 if only the report could not be written.

    Raises:
        ConfigError: There is no command, or a setting is wrong.
        OutputError: The output cannot be written; the command was not run.
    """
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise ConfigError("overwinter measure needs a command: overwinter measure -- python train.py")
    if arguments.output:
        check_output(arguments.output)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    try:
        exit_code, report, entry = _measured(words, mask, arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    kept = entry.finish(exit_code) if entry else None
    if report is None:
        return exit_code
    record = kept or _unkept(report, words)
    return exit_code if _reported(record, words, exit_code, arguments) else exit_code or EXIT_FAILED


def _unkept(report: EnergyReport, words: Sequence[str]) -> EnergyRecord:
    """Return the record of a command that the ledger does not keep."""
    from overwinter.energy import EnergyRecord
    from overwinter.ledger import COMMAND_PREFIX

    return EnergyRecord.of(report, stage=f"{COMMAND_PREFIX}{Path(words[0]).name}")


def _measured(
    words: Sequence[str], mask: set[Any], arguments: argparse.Namespace
) -> tuple[int, EnergyReport | None, Entry | None]:
    """Run the command under a meter; signals are blocked and waited for, and the command gets ``mask``."""
    from overwinter.energy import open_meter

    energy, hardware = meter_settings()
    entry_of = _ledger_entries(arguments, words)
    with open_meter(energy, hardware, own_process=False, adopts_orphans=True) as meter:
        entry = entry_of(meter)
        try:
            pid = _spawn(words, mask)
        except FileNotFoundError:
            return _failed(words, "no such command", _NOT_FOUND), None, entry
        except OSError as error:
            return _failed(words, error.strerror or str(error), _NOT_EXECUTABLE), None, entry
        exit_code = _wait(pid)
        return exit_code, meter.close(), entry


def _ledger_entries(arguments: argparse.Namespace, words: Sequence[str]) -> Callable[[EnergyMeter], Entry | None]:
    """Return a function that begins the ledger's entry; all slow imports are done before the command starts."""
    if not (arguments.ledger or arguments.name):
        return lambda _: None
    from overwinter.cli.measure_ledger import Entry

    name, groups = arguments.name or Path(words[0]).name, project_groups() or {}
    return lambda meter: Entry(name, words, groups, meter)


def _spawn(words: Sequence[str], mask: set[Any]) -> int:
    """Start the command with the signals as they were before Python changed them."""
    changed = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores these two, which a child would inherit
    return os.posix_spawnp(words[0], list(words), os.environ, setsigmask=mask, setsigdef=changed)


def _wait(pid: int) -> int:
    """Wait for the command, forwarding signals; return its exit code, or 128 + N if signal N killed it.

    Other children are waited for too: orphans of the command may have become children of this process, and the
    kernel counts the CPU time only of children that were waited for.
    """
    exit_code: int | None = None
    while exit_code is None:
        received = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            exit_code = _reaped(pid)
        elif received.si_code != _SENT_BY_KERNEL:
            os.kill(pid, received.si_signo)
    return exit_code


def _reaped(pid: int) -> int | None:
    """Wait for all children that have ended; return the command's exit code if it is among them."""
    exit_code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == pid:
                code = os.waitstatus_to_exitcode(ended[1])
                exit_code = code if code >= 0 else 128 - code
    return exit_code


def _failed(words: Sequence[str], reason: str, exit_code: int) -> int:
    print(f"overwinter: {words[0]}: {reason}", file=sys.stderr)
    return exit_code


def _reported(record: EnergyRecord, words: Sequence[str], exit_code: int, arguments: argparse.Namespace) -> bool:
    """Write the report; on failure, to standard error. Return whether it was written as requested."""
    from overwinter.records import to_json

    content = {"command": list(words), "exit_code": exit_code, **to_json(record)}
    text = json.dumps(content, allow_nan=False)
    if arguments.output:
        try:
            write_output(arguments.output, json.dumps(content, indent=2, allow_nan=False) + "\n")
        except OverwinterError as error:
            print(f"overwinter: {error}\noverwinter: the report was:\n{text}", file=sys.stderr)
            return False
    elif arguments.json:
        print(text, file=sys.stderr)
    else:
        print("\n".join(_table(record)), file=sys.stderr)
    return True


def _table(record: EnergyRecord) -> list[str]:
    """Return the report's lines; plain, since a table library takes longer to load than many commands to run."""
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
        for part in record.components
    ]
    rows.append(("total", "", format_si(record.energy_j, "J"), f"± {format_si(record.uncertainty_j, 'J')}", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(f"{format_duration(record.duration_s)}, {record.measured_fraction:.0%} measured, the rest modelled")
    if record.idle_j is not None and record.above_idle_j is not None:
        lines.append(f"idle {format_si(record.idle_j, 'J')}, above idle {format_si(record.above_idle_j, 'J')}")
    if record.carbon_g is not None:
        lines.append(f"{format_si(record.carbon_g, 'gCO2e')}, kept in the ledger")
    return lines + [f"warning: {text}" for text in record.warnings]
