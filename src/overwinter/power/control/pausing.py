"""A pause is real: the work saves a checkpoint, lets go of the accelerator, and another program waits.

How the pieces fit (the stage is what joins them):

1. `PowerControl.pause` is set; the stage raises `PausedError` from `progress`. Training saves its checkpoint
   and lets it out, as for a budget's refusal; meter, guard and ledger are closed, so every limit is back.
2. The stage program then calls `replace_process` with the command of a small program that waits. The process
   keeps its id, so that DVC goes on waiting for it, and nothing else: every file is closed, the accelerator's
   too, and its memory is gone.
3. That program calls `wait_out`, which asks the same policy, with the same configuration, every so often;
   then it calls `replace_process` with the stage's own command, which goes on from the checkpoint.
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
    """The policy wants the work to stop for a while.

    Attributes:
        reason: one line for the user and the record.
        since_utc: when it said so.
    """

    reason: str
    since_utc: datetime


class PausedError(OverwinterError):
    """The power policy pauses the work: save a checkpoint and let this out; it goes on from there by itself.

    Attributes:
        pause: why, and since when.
    """

    def __init__(self, pause: Pause) -> None:
        super().__init__(f"paused by the power policy: {pause.reason}")
        self.pause = pause


@dataclass(frozen=True, kw_only=True)
class PausedWork:
    """What a policy must know of work that is not running; everything else of its observation is read anew.

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
        """Return it as JSON values."""
        deadline = self.deadline_utc.isoformat() if self.deadline_utc else None
        return {**dataclasses.asdict(self), "deadline_utc": deadline}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what `to_json` was made from."""
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
        """Return an observation at ``time_utc``; ``known`` are its further fields, such as the intensity."""
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
    """Wait until the policy lets the work go on; return the decision that says so.

    A policy that fails, or returns nonsense, ends the pause.

    Args:
        policy: decides.
        observe: what it sees at a time.
        name: of the policy, for messages.
        notify: takes one line for the user.
        interval_s: between two questions, at most.
        sleep: waits.
        now: the time on the wall, in UTC.
    """
    while True:
        decision = ask(policy, name, observe(now()), notify)
        if not decision.pause:
            return decision
        review_s = decision.review_s if decision.review_s is not None else interval_s
        sleep(min(interval_s, max(1.0, review_s if math.isfinite(review_s) else interval_s)))


def replace_process(command: Sequence[str]) -> NoReturn:
    """Become another program in the same process; every file but the standard ones is closed.

    A driver's files closed, and the memory gone, the accelerator is free. Threads end, nothing is cleaned up:
    close what must be closed before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for handle in sorted(int(name.name) for name in Path("/proc/self/fd").iterdir()):
        if handle >= _FIRST_OWN_HANDLE:
            with contextlib.suppress(OSError):
                os.set_inheritable(handle, False)
    os.execv(command[0], list(command))  # noqa: S606 -- our own interpreter and programs
