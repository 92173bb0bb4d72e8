"""A pause: the state passed to the waiting program, the wait, and the release of the accelerator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from overwinter.power.control.pausing import Pause, PausedError, PausedWork, wait_out
from overwinter.power.interface import Decision, DeviceState, Observation, OperatingPoint

_NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
_WORK = PausedWork(
    devices=(DeviceState(name="gpu:0", min_w=100, max_w=300, default_w=300, previous_w=280, current_w=150),),
    points=(OperatingPoint(limit_w=150, power_w=140, speed_per_s=8),),
    work_done=5,
    work_total=10,
    deadline_utc=_NOON + timedelta(hours=6),
    pause_w=25,
    resume_s=30,
)


class _UntilOne:
    """Pauses until one o'clock."""

    def __init__(self, *, review_s: float | None = None) -> None:
        self.review_s = review_s
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision(pause=observation.time_utc < _NOON + timedelta(hours=1), review_s=self.review_s, reason="one")


def _waited(policy: Any, interval_s: float = 600, messages: list[str] | None = None) -> tuple[Decision, float]:
    now = [_NOON]

    def sleep(duration_s: float) -> None:
        now[0] += timedelta(seconds=duration_s)

    decision = wait_out(
        policy,
        lambda at: _WORK.observe(at, intensity_g_per_kwh=100.0),
        name="mine",
        notify=(messages if messages is not None else []).append,
        interval_s=interval_s,
        sleep=sleep,
        now=lambda: now[0],
    )
    return decision, (now[0] - _NOON).total_seconds()


def test_work_survives_the_way_to_the_waiting_program() -> None:
    assert PausedWork.from_json(json.loads(json.dumps(_WORK.to_json()))) == _WORK


def test_waits_until_the_policy_lets_go_on() -> None:
    policy = _UntilOne()
    decision, waited_s = _waited(policy)
    assert (decision.pause, decision.reason, waited_s) == (False, "one", 3600)
    seen = policy.seen[0]
    assert (seen.power_w, seen.speed_per_s, seen.work_done, seen.intensity_g_per_kwh) == (25, 0, 5, 100)
    assert seen.devices == _WORK.devices


def test_decides_again_at_the_policy_s_review_time() -> None:
    policy = _UntilOne(review_s=60)
    assert _waited(policy)[1] == 3600
    assert len(policy.seen) == 61


def test_a_policy_that_fails_or_returns_an_invalid_decision_ends_the_pause_and_is_reported() -> None:
    messages: list[str] = []

    class Failing:
        def decide(self, observation: Observation) -> Any:
            raise RuntimeError("no forecast")

    assert not _waited(Failing(), messages=messages)[0].pause

    class Silent:
        def decide(self, observation: Observation) -> Any:
            return None

    assert not _waited(Silent(), messages=messages)[0].pause
    assert "power policy mine failed (RuntimeError('no forecast'))" in messages[0]
    assert "NoneType instead of a Decision" in messages[1]


def test_paused_error_contains_the_reason() -> None:
    assert "the grid is dirty" in str(PausedError(Pause(reason="the grid is dirty", since_utc=_NOON)))


_PROGRAM = """
import os, sys, threading
from overwinter.power.control.pausing import replace_process
held = os.open("/dev/null", os.O_RDWR)      # an accelerator's file: not marked to be closed
os.set_inheritable(held, True)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(os.getpid(), flush=True)
look = "import os; print(os.getpid()); print(sorted(os.listdir('/proc/self/fd')))"
replace_process([sys.executable, "-S", "-c", look])
"""


def test_process_keeps_its_id_and_nothing_else() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    ).stdout.splitlines()
    assert completed[0] == completed[1]
    assert completed[2] == "['0', '1', '2', '3']"  # 3 is the listing's own
