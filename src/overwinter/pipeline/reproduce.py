"""Running `dvc repro` as a child process in a separate session, following its stages through the events file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from overwinter.config import Project
from overwinter.errors import EXIT_FAILED
from overwinter.pipeline.events import EVENTS_FILE, EventReader
from overwinter.pipeline.finished import forget_committed
from overwinter.pipeline.locks import repair_dvc_lock, repair_dvc_rwlock
from overwinter.pipeline.parent_watch import RUN_ID, RUN_PID

_POLL_S = 0.1
_KEPT_LOGS = 20


@dataclass(kw_only=True)
class Reproduction:
    """The outcome of a `dvc repro`.

    Attributes:
        run_id: The run's id in the ledger.
        exit_code: The exit code for `overwinter run`: the failing program's, or 1.
        ran: The stages, gates and check that were executed, in order; a result that an earlier run had finished is not.
        message: The error message of the failing program, or of dvc.
        traceback: The traceback of the failing program, with `--debug`.
        log: The log file of everything that dvc and the stages printed.
    """

    run_id: str
    log: Path
    exit_code: int = 0
    ran: list[str] = field(default_factory=list)
    message: str = ""
    traceback: str = ""


def reproduce(project: Project, on_event: Callable[[dict[str, Any]], None]) -> Reproduction:
    """Run `dvc repro`, and pass every event to ``on_event`` while it runs.

    A SIGINT or SIGTERM is forwarded once to dvc and its stage, which end at their next step with a checkpoint.
    """
    run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    folder = project.state / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    forget_committed(project)
    outcome = Reproduction(run_id=run_id, log=folder / f"{run_id}.log")
    events = EventReader(folder / f"{run_id}.events")
    failures: list[dict[str, Any]] = []
    with outcome.log.open("wb") as log, _started(project, run_id, folder, log) as dvc:
        while True:
            ended = dvc.poll() is not None
            for event in events.new():
                _note(event, outcome, failures)
                on_event(event)
            if ended:
                break
            time.sleep(_POLL_S)
    if dvc.returncode < 0:  # killed, perhaps while writing; the next command may be dvc's, which repairs nothing
        repair_dvc_rwlock(project.root)
        repair_dvc_lock(project.root)
    _conclude(outcome, dvc.returncode, failures)
    return outcome


@contextmanager
def _started(project: Project, run_id: str, folder: Path, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment |= {RUN_ID: run_id, RUN_PID: str(os.getpid()), EVENTS_FILE: str(folder / f"{run_id}.events")}
    repair_dvc_rwlock(project.root)
    command = [sys.executable, "-m", "dvc", "repro"]
    dvc = subprocess.Popen(
        command,
        cwd=project.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    with _forwarded_signals(dvc):
        try:
            yield dvc
        finally:
            if dvc.poll() is None:
                _signal_group(dvc, signal.SIGKILL)
            dvc.wait()


@contextmanager
def _forwarded_signals(dvc: subprocess.Popen[bytes]) -> Iterator[None]:
    def forward(_number: int, _frame: FrameType | None) -> None:
        _signal_group(dvc, signal.SIGINT)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
        outcome.message = f"{failures[-1]['stage']}: {failures[-1]['message']}"
        outcome.traceback = failures[-1].get("traceback", "")
    else:
        outcome.exit_code = EXIT_FAILED
        outcome.message = _dvc_errors(outcome.log) or f"dvc ended with code {dvc_code}. See {outcome.log}."


def _dvc_errors(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(line for line in lines if line.startswith("ERROR:"))


def _forget_old(folder: Path) -> None:
    for path in sorted(folder.glob("*.log"))[:-_KEPT_LOGS]:
        path.unlink(missing_ok=True)
        path.with_suffix(".events").unlink(missing_ok=True)
