"""Running `dvc repro` as a child process in a separate session, following its stages through the events file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overwinter.config import Project
from overwinter.errors import EXIT_FAILED
from overwinter.pipeline.events import EVENTS_FILE, EventReader
from overwinter.pipeline.finished import forget_committed
from overwinter.pipeline.locks import repair_dvc_lock, repair_dvc_rwlock
from overwinter.pipeline.parent_watch import RUN_ID, RUN_PID
from overwinter.pipeline.signals import interrupts_handled
from overwinter.programs import EXIT_INTERRUPTED

_POLL_S = 0.1
_KEPT_LOGS = 20
_ENDED = re.compile(r"^ERROR: failed to reproduce '([^']+)': failed to run: .*, exited with (\d+)$")
_LEAST_SIGNAL_CODE = 128  # by a shell; without one, the code of a killed program is negative


@dataclass(kw_only=True)
class Reproduction:
    """The outcome of a `dvc repro`.

    Attributes:
        run_id: The run's id in the ledger.
        exit_code: The exit code for `overwinter run`: the failing program's, or 1.
        ran: The stages, gates and check that were executed, in order; a result that an earlier run had finished is not.
        failed: The program that failed; None if none did, or it was killed.
        message: The error message of the failing program, or of dvc.
        traceback: The traceback of the failing program, with `--debug`.
        log: The log file of everything that dvc and the stages printed.
    """

    run_id: str
    log: Path
    exit_code: int = 0
    ran: list[str] = field(default_factory=list)
    failed: str | None = None
    message: str = ""
    traceback: str = ""


def reproduce(
    project: Project,
    on_event: Callable[[dict[str, Any]], None],
    *,
    targets: Sequence[str] = (),
    run_id: str | None = None,
) -> Reproduction:
    """Run `dvc repro`, and pass every event to ``on_event`` while it runs.

    A SIGINT or SIGTERM is forwarded once to dvc and its stage, which end at their next step with a checkpoint.

    Args:
        project: The project.
        on_event: A function that gets every event.
        targets: The stages to reproduce, with those they need; all by default.
        run_id: The run's id in the ledger; a new one by default.
    """
    run_id = run_id or new_run_id()
    folder = project.state / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    forget_committed(project)
    running = RunningDvc(project, run_id=run_id, log=folder / f"{run_id}.log", targets=targets)
    with interrupts_handled(running.interrupt):
        try:
            while True:
                ended = running.has_ended()
                for event in running.events():
                    on_event(event)
                if ended:
                    break
                time.sleep(_POLL_S)
        finally:
            running.kill()
    return running.outcome()


def new_run_id() -> str:
    """Return a new id for a run in the ledger, which sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


class RunningDvc:
    """A `dvc repro` that runs as a child process in a session of its own.

    Args:
        project: The project, or a tree with a copy of it.
        run_id: The run's id in the ledger.
        log: The file for all that dvc and the stages print; the events' file is beside it.
        targets: The stages to reproduce; all by default.
        environment: Further variables of its environment.
        inherited: Open files that dvc and the stages inherit.
    """

    def __init__(
        self,
        project: Project,
        *,
        run_id: str,
        log: Path,
        targets: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self._root = project.root
        self._outcome = Reproduction(run_id=run_id, log=log)
        self._failures: list[dict[str, Any]] = []
        self._interrupted = False
        events = log.with_suffix(".events")
        for path in (events, log):  # an earlier one, or a link, through which the log would be written elsewhere
            path.unlink(missing_ok=True)
        self._reader = EventReader(events)
        variables = dict(os.environ) | dict(environment or {})
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables.get("PATH", os.defpath)])
        variables |= {RUN_ID: run_id, RUN_PID: str(os.getpid()), EVENTS_FILE: str(events)}
        repair_dvc_rwlock(project.root)
        with log.open("wb") as output:
            self._dvc = subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro", *targets],
                cwd=project.root,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherited,
            )

    def has_ended(self) -> bool:
        """Return whether dvc has ended; events that it left may still be unread."""
        return self._dvc.poll() is not None

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last call."""
        for event in self._reader.new():
            _note(event, self._outcome, self._failures)
            yield event

    def interrupt(self) -> None:
        """Let dvc and its stage end at their next step, with a checkpoint."""
        self._interrupted = True
        _signal_group(self._dvc, signal.SIGINT)

    def kill(self) -> None:
        """Kill dvc and its stage, if they still run."""
        if self._dvc.poll() is None:
            _signal_group(self._dvc, signal.SIGKILL)
        self._dvc.wait()

    def outcome(self) -> Reproduction:
        """Return the outcome, once it has ended and its events are read."""
        code = self._dvc.wait()
        if code < 0:  # killed, perhaps while writing; the next command may be dvc's, which repairs nothing
            repair_dvc_rwlock(self._root)
            repair_dvc_lock(self._root)
        _conclude(self._outcome, code, self._failures)
        if self._interrupted and code and self._outcome.failed is None:  # no stage ran, which would have told
            self._outcome.exit_code = EXIT_INTERRUPTED
            self._outcome.message = "interrupted between two stages. Finished stages are kept: run it again to go on."
        return self._outcome


def _signal_group(dvc: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(dvc.pid, number)


def _note(event: dict[str, Any], outcome: Reproduction, failures: list[dict[str, Any]]) -> None:
    if event["event"] == "start":
        outcome.ran.append(event["stage"])
    if event["event"] == "restored":
        outcome.ran.remove(event["stage"])
    if event["event"] == "end" and event["exit_code"] != 0:
        failures.append(event)


def _conclude(outcome: Reproduction, dvc_code: int, failures: list[dict[str, Any]]) -> None:
    if dvc_code == 0:
        return
    if failures:
        outcome.exit_code = failures[-1]["exit_code"]
        outcome.failed = failures[-1]["stage"]
        said = failures[-1]["message"]
        outcome.message = said if said.startswith(f"{outcome.failed} ") else f"{outcome.failed}: {said}"
        outcome.traceback = failures[-1].get("traceback", "")
    elif (ended := _ended_by_itself(_lines(outcome.log))) is not None:
        outcome.exit_code = EXIT_FAILED
        outcome.failed, reason = ended
        outcome.message = f"{outcome.failed}: {reason}\nSee {outcome.log}."
    else:
        outcome.exit_code = EXIT_FAILED
        outcome.message = _dvc_errors(outcome.log) or f"dvc ended with code {dvc_code}. See {outcome.log}."


def _ended_by_itself(lines: Sequence[str]) -> tuple[str, str] | None:
    """Return the program that ended before it could report an error, and its last line; None if it was killed.

    Such an end is an error in its first lines, as of an import: another try would end in the same way.
    """
    for place, line in enumerate(lines):
        found = _ENDED.match(line)
        if found is not None and int(found[2]) < _LEAST_SIGNAL_CODE:
            last = next((each.strip() for each in reversed(lines[:place]) if each.strip()), "")
            silent = not last or last.startswith("> ")  # DVC's own line, the command
            return found[1], f"exited with {found[2]}" + (" without a word." if silent else f": {last}")
    return None


def _dvc_errors(log: Path) -> str:
    return "\n".join(line for line in _lines(log) if line.startswith("ERROR:"))


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def _forget_old(folder: Path) -> None:
    for path in sorted(folder.glob("*.log"))[:-_KEPT_LOGS]:
        path.unlink(missing_ok=True)
        path.with_suffix(".events").unlink(missing_ok=True)
