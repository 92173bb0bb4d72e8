"""Pauses that release the accelerator: the work saves a checkpoint, and a small program waits in its process.

Sequence, which the stage implements:

1. `PowerControl.pause` is set; the stage raises `PausedError` from `progress`. Training saves its checkpoint and
   propagates the error, as for a budget's refusal; meter, guard and ledger are closed, so every limit is restored.
2. The stage program then calls `replace_process` with the command of a small program that waits. The process
   keeps its id, so that DVC keeps waiting for it; all files are closed, the accelerator's too, and all memory is
   released.
3. That program calls `wait_out`, which queries the same policy with the same configuration at intervals; then it
   calls `replace_process` with the stage's own command, which resumes from the checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from overwinter.errors import OverwinterError
from overwinter.power.control.asking import ask
from overwinter.power.interface import Decision, DeviceState, Observation, OperatingPoint, PowerPolicy

_FIRST_OWN_HANDLE = 3


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pause that the policy has decided.

    Attributes:
        reason: one line for the user and the record.
        since_utc: time of the decision.
    """

    reason: str
    since_utc: datetime


class PausedError(OverwinterError):
    """The power policy pauses the work: save a checkpoint and propagate this error; the work resumes by itself.

    Attributes:
        pause: reason and time of the pause.
    """

    def __init__(self, pause: Pause) -> None:
        super().__init__(f"paused by the power policy: {pause.reason}")
        self.pause = pause


@dataclass(frozen=True, kw_only=True)
class PausedWork:
    """A policy's inputs about paused work; the rest of its observation is read again.

    Attributes: as in `Observation`.
    """

    devices: tuple[DeviceState, ...]
    points: tuple[OperatingPoint, ...]
    work_done: float | None
    work_total: float | None
    deadline_utc: datetime | None
    pause_w: float
    resume_s: float
    remaining_energy_j: float | None = None
    remaining_carbon_g: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        deadline = self.deadline_utc.isoformat() if self.deadline_utc else None
        return {**dataclasses.asdict(self), "deadline_utc": deadline}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the object that `to_json` serialized."""
        deadline = content["deadline_utc"]
        return cls(
            devices=tuple(DeviceState(**each) for each in content["devices"]),
            points=tuple(OperatingPoint(**each) for each in content["points"]),
            work_done=content["work_done"],
            work_total=content["work_total"],
            deadline_utc=datetime.fromisoformat(deadline) if deadline else None,
            pause_w=content["pause_w"],
            resume_s=content["resume_s"],
            remaining_energy_j=content["remaining_energy_j"],
            remaining_carbon_g=content["remaining_carbon_g"],
        )

    def observe(self, time_utc: datetime, **known: Any) -> Observation:
        """Return an observation at ``time_utc``, with further fields in ``known``, such as the intensity."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Observation(time_utc=time_utc, power_w=self.pause_w, speed_per_s=0.0, **fields, **known)


def wait_out(
    policy: PowerPolicy,
    observe: Callable[[datetime], Observation],
    *,
    name: str,
    notify: Callable[[str], None],
    interval_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Decision:
    """Wait until the policy resumes the work, and return that decision.

    A policy that fails, or returns an invalid decision, ends the pause.

    Args:
        policy: the policy.
        observe: returns the observation at a time.
        name: name of the policy, for messages.
        notify: reports one line to the user.
        interval_s: maximum seconds between two decisions.
        sleep: sleeps for some seconds.
        now: returns the wall-clock time in UTC.
    """
    while True:
        decision = ask(policy, name, observe(now()), notify)
        if not decision.pause:
            return decision
        review_s = decision.review_s if decision.review_s is not None else interval_s
        sleep(min(interval_s, max(1.0, review_s if math.isfinite(review_s) else interval_s)))


def replace_process(command: Sequence[str]) -> NoReturn:
    """Replace this process with another program; all files except the standard streams are closed.

    With the driver's files closed and the memory released, the accelerator is free. Threads end without cleanup:
    close resources before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for handle in sorted(int(name.name) for name in Path("/proc/self/fd").iterdir()):
        if handle >= _FIRST_OWN_HANDLE:
            with contextlib.suppress(OSError):
                os.set_inheritable(handle, False)
    os.execv(command[0], list(command))  # noqa: S606 -- only this interpreter and Overwinter's programs
