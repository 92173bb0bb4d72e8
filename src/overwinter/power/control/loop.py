"""The control loop: observes, queries the policy, and sets limits through the guard. The work never waits for it.

    control = PowerControl(policy, guard, sources=Sources(energy_j=...), warn=stage.say)
    with control:                         # the first decision is made before the work starts
        for step in ...:
            work()
            control.step(step + 1, total) # progress; a duty cycle waits here
            if control.pause is not None:
                ...                       # save a checkpoint and release the device: see `pausing`

A stage that looks for the best settings of its work tries limits with each of them: `PowerControl.trials`.

A policy that raises or returns an invalid decision (`asking`), a lost device (`devices`), a clock jump, or a missing
intensity (`observing`) is reported once (`warn_once`); the previous limit holds, and the work continues.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from overwinter.errors import OverwinterError
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import DeniedError
from overwinter.power.control.asking import ask
from overwinter.power.control.devices import Devices
from overwinter.power.control.observing import Readings, Sources, WorkMeter, common_limit_w, merged_points
from overwinter.power.control.pausing import Pause, PausedWork
from overwinter.power.control.warn_once import WarnOnce
from overwinter.power.guard.guard import Guard
from overwinter.power.interface import Job, Observation, OperatingPoint, PowerPolicy
from overwinter.power.profile_store import ProfileStore

_SAMPLE_S = 1.0  # between two checks whether a cap binds
_FIRST_S = 2.0  # maximum wait for the first decision
_JUMP_S = 30.0  # between the wall clock and the monotonic clock
_MIN_REVIEW_S = 0.05


@dataclass(frozen=True, kw_only=True)
class PowerRecord:
    """The control loop's record in energy.json and the ledger.

    Attributes:
        power_policy: name of the policy.
        actuator: actuator that set the limits; None: none.
        note: note about that kind of limit.
        cap_bound_fraction: share of the capped time in which the cap slowed the work down; None: never capped.
        decisions: number of decisions.
        paused_s: seconds that a duty cycle has paused.
        cpu_s: CPU time of the loop's thread.
        warnings: reported lines, each once.
    """

    power_policy: str
    actuator: str | None
    note: str
    cap_bound_fraction: float | None
    decisions: int
    paused_s: float
    cpu_s: float
    warnings: tuple[str, ...]


class PowerControl:
    """Runs a policy over devices until closed.

    Args:
        policy: the policy.
        guard: sets the limits, not opened yet; None: nothing can be limited, but the policy may still pause.
        sources: sources of the readings.
        warn: reports one line to the user.
        name: name of the policy, for the record.
        job: deadline and cost of a pause.
        profiles: stored profiles of this work, read when a device is taken and written when the policy has settled.
        interval_s: seconds between two decisions.
        clocks: opens a guard over locked clocks; called when a policy sets a clock.
        on_denied: called without permission to set limits: returns another guard, or None to continue without one,
            or raises the error, which ends the work at its start or at its next step.
        clock: returns monotonic seconds.
        now: returns the wall-clock time in UTC.
    """

    def __init__(
        self,
        policy: PowerPolicy,
        guard: Guard | None,
        *,
        sources: Sources,
        warn: Callable[[str], None],
        name: str = "",
        job: Job | None = None,
        profiles: ProfileStore | None = None,
        interval_s: float = 10.0,
        clocks: Callable[[], Guard] | None = None,
        on_denied: Callable[[DeniedError], Guard | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.pause: Pause | None = None
        self._policy, self._name = policy, name or type(policy).__name__
        self._job, self._interval_s = job or Job(), interval_s
        self._clock, self._now = clock, now
        self._notices = WarnOnce(warn)
        self._readings = Readings(sources, self._notices.notify)
        self._devices = Devices(
            guard, open_clocks=clocks, on_denied=on_denied, taken=self._read_profile, notify=self._notices.notify
        )
        self._meter = WorkMeter()
        self._profiles, self._settled = profiles, False
        self._stored: tuple[OperatingPoint, ...] = ()
        self._progress: tuple[float, float | None] | None = None
        self._seen_s = self._seen_utc_s = math.nan
        self._due_s = -math.inf
        self._decisions, self._cpu_s = 0, 0.0
        self._trying, self._lock = False, threading.RLock()
        self._first, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-control", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Take the devices, make the first decision, and continue in a thread.

        Raises:
            RefusedError: another run holds a device.
            DeniedError: there is no permission to set limits, and ``on_denied`` raises.
        """
        self._devices.open()
        self._thread.start()
        self._first.wait(_FIRST_S)
        if self._devices.failure is not None:
            self.close()
            raise self._devices.failure
        return self

    def step(self, done: float, total: float | None) -> None:
        """Report progress at a step boundary; a duty cycle waits here.

        Args:
            done: units of work done.
            total: units of work in total; None: unknown.

        Raises:
            DeniedError: the permission to set limits was lost, and ``on_denied`` raises.
        """
        self._progress = (float(done), None if total is None else float(total))
        if self._devices.failure is not None:
            raise self._devices.failure
        self._devices.at_step()

    def close(self) -> PowerRecord:
        """Stop the loop, restore every limit, and return the record; idempotent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_FIRST_S)  # do not wait for a policy that hangs
        if self._settled:
            self._keep_profile()
        self._devices.close()
        return self.record()

    def record(self) -> PowerRecord:
        """Return the record so far."""
        actuator = self._devices.actuator
        return PowerRecord(
            power_policy=self._name,
            actuator=actuator.name if actuator else None,
            note=actuator.note if actuator else "",
            cap_bound_fraction=self._devices.cap_bound_fraction,
            decisions=self._decisions,
            paused_s=self._devices.paused_s,
            cpu_s=self._cpu_s,
            warnings=self._notices.reported(),
        )

    def paused_work(self) -> PausedWork:
        """Return the state that the waiting process needs, once `pause` is set; call it before `close`."""
        energy_j, carbon_g = self._readings.remaining()
        done, total = self._progress or (None, None)
        return PausedWork(
            devices=self._devices.states(),
            points=self._points(),
            work_done=done,
            work_total=total,
            deadline_utc=self._job.deadline_utc,
            remaining_energy_j=energy_j,
            remaining_carbon_g=carbon_g,
            pause_w=self._job.pause_w,
            resume_s=self._job.resume_s,
        )

    # Trials by the work itself.

    @contextlib.contextmanager
    def trials(self) -> Iterator[None]:
        """Make no decisions inside the context, in which the work tries limits with `try_limit`."""
        with self._lock:
            self._trying = True
            self._meter.decided(None)  # what runs now is not the work whose operating points are sought
        try:
            yield
        finally:
            with self._lock:
                self._trying, self._due_s = False, -math.inf

    def try_limit(self, points: Sequence[OperatingPoint]) -> float | None:
        """Let the policy set a limit, as if these were all operating points; call it inside `trials`.

        Returns:
            The limit on every device; None: none can be set, or the devices have different ones.
        """
        with self._lock:
            if not self._devices.sets_limits:
                return None
            observation = replace(self._observe(), points=tuple(points))
            decision = ask(self._policy, self._name, observation, self._notices.notify)
            self._decisions += 1
            self._devices.carry_out(decision)
            return common_limit_w(state.current_w for state in self._devices.states())

    def drawn_j(self) -> float:
        """Return the joules that the devices with a limit have drawn so far."""
        energies_j = self._readings.energies_j()
        return sum(energies_j.get(device, 0.0) for device in self._devices.names)

    def add_points(self, points: Sequence[OperatingPoint]) -> None:
        """Take in operating points that trials showed, until the work itself shows others."""
        with self._lock:
            self._stored = merged_points(self._stored, points)

    # The thread.

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s) and self._devices.failure is None:
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 -- an error in the loop must never stop the work
                self._notices.notify(f"the control loop failed with {error!r}; limits are unchanged")
            self._first.set()
            self._cpu_s = time.thread_time()
            wait_s = max(0.0, min(_SAMPLE_S, self._due_s - self._clock()))
        self._first.set()

    def tick(self) -> None:
        """Take one reading, and make a decision if one is due."""
        with self._lock:
            self._tick()

    def _tick(self) -> None:
        now_s = self._clock()
        energies_j = self._readings.energies_j()
        limited = {device: energies_j[device] for device in self._devices.names if device in energies_j}
        self._meter.note(now_s, limited, self._progress[0] if self._progress else None)
        self._devices.look(self._meter.latest_w)
        if now_s >= self._due_s and not self._trying:
            self._due_s = now_s + self._interval_s
            if not self._clock_jumped(now_s):
                self._decide(now_s)

    def _decide(self, now_s: float) -> None:
        observation = self._observe()
        decision = ask(self._policy, self._name, observation, self._notices.notify)
        if self._stopped.is_set():
            return  # the work ended in the meantime
        self._decisions += 1
        if decision.review_s is not None:
            self._due_s = now_s + min(self._interval_s, max(_MIN_REVIEW_S, decision.review_s))
        if decision.pause:
            self.pause = self.pause or Pause(reason=decision.reason, since_utc=observation.time_utc)
        else:
            self.pause = None
        if not self._devices.carry_out(decision):
            self._due_s = -math.inf
        if decision.settled and not self._settled:
            self._settled = True
            self._keep_profile()
        self._meter.decided(common_limit_w(state.current_w for state in self._devices.states()))

    def _observe(self) -> Observation:
        now = self._now()
        power_w, speed_per_s = self._meter.since_decision()
        energy_j, carbon_g = self._readings.remaining()
        done, total = self._progress or (None, None)
        return Observation(
            time_utc=now,
            devices=self._devices.states(),
            points=self._points(),
            work_done=done,
            work_total=total,
            deadline_utc=self._job.deadline_utc,
            power_w=power_w,
            speed_per_s=speed_per_s,
            remaining_energy_j=energy_j,
            remaining_carbon_g=carbon_g,
            pause_w=self._job.pause_w,
            resume_s=self._job.resume_s,
            **self._readings.outside(now),
        )

    def _clock_jumped(self, now_s: float) -> bool:
        """Return whether the wall clock jumped since the last decision, or the machine was suspended."""
        utc_s = self._now().timestamp()
        jump_s = (utc_s - self._seen_utc_s) - (now_s - self._seen_s)
        self._seen_s, self._seen_utc_s = now_s, utc_s
        if abs(jump_s) > _JUMP_S:  # false at the first decision, when the difference is NaN
            self._notices.notify(f"the clock jumped by {jump_s:.0f} s; limits are unchanged until the next decision")
            return True
        return False

    # Operating points.

    def _points(self) -> tuple[OperatingPoint, ...]:
        return merged_points(self._stored, self._meter.points())

    def _read_profile(self, actuator: Actuator) -> None:
        self._stored = self._profiles.of(actuator) if self._profiles is not None else ()

    def _keep_profile(self) -> None:
        if self._profiles is None or not self._meter.points():
            return
        try:
            self._profiles.keep(self._points())
        except OverwinterError as error:
            self._notices.notify(f"the profile was not stored: {error}")
