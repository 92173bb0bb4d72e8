"""The control loop: observes, asks the policy, sets limits through the guard. The work never waits for it.

    control = PowerControl(policy, guard, sources=Sources(energy_j=...), warn=stage.say)
    with control:                         # the first decision is made before the work begins
        for step in ...:
            work()
            control.step(step + 1, total) # progress; here the duty cycle waits, if there is one
            if control.pause is not None:
                ...                       # save a checkpoint and let go of the device: see `control_pausing`

A policy that raises or answers nonsense, a device that vanishes, a clock that jumps, an intensity that is
missing: each is told once, the previous limit holds, and the work goes on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from overwinter.errors import OverwinterError
from overwinter.power.actuators.duty_cycle import DutyCycle
from overwinter.power.actuators.values import DeniedError, DeviceLostError, LimitError, Limits
from overwinter.power.control_observing import Job, Sources, WorkMeter, common_limit_w, merged_points
from overwinter.power.control_pausing import Pause, PausedWork
from overwinter.power.guard import Guard
from overwinter.power.interface import Decision, DeviceState, Observation, OperatingPoint, PowerPolicy
from overwinter.power.profile_store import ProfileStore

_SAMPLE_S = 1.0  # between two looks at whether a cap binds
_FIRST_S = 2.0  # the work waits so long for the first decision, at most
_JUMP_S = 30.0  # between the clock on the wall and the one that never jumps
_ENOUGH_LOOKS = 30  # to say that a cap does not bind
_SELDOM = 0.05  # share of the capped time
_NEAR = 0.95  # of its limit: what draws that much is held back by it
_SHORTEST_REVIEW_S = 0.05

Reading = TypeVar("Reading")


@dataclass(frozen=True, kw_only=True)
class PowerRecord:
    """What goes into energy.json and the ledger.

    Attributes:
        power_policy: its name.
        actuator: what set the limits; None: nothing did.
        note: what a reader must know of that kind of cap.
        cap_bound_fraction: share of the capped time in which the cap held the work back; None: never capped.
        decisions: how many were made.
        paused_s: what a duty cycle has paused.
        cpu_s: CPU time of the loop's thread.
        warnings: what was told, each line once.
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
        policy: decides.
        guard: sets the limits, not opened yet; None: nothing can be limited, but the policy may still pause.
        sources: where the readings come from.
        warn: takes one line for a person.
        name: of the policy, for the record.
        job: deadline and what a pause costs.
        profiles: what is stored of this work, read when a device is taken, and kept when the policy has settled.
        interval_s: between two decisions.
        clocks: opens a guard over locked clocks, once a policy asks for a clock.
        on_denied: what to do without the right to set limits: returns another guard, or None to go on
            without, or raises the error, which ends the work at its start or at its next step.
        clock: monotonic seconds.
        now: the time on the wall, in UTC.
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
        self._policy, self._guard, self._sources = policy, guard, sources
        self._name = name or type(policy).__name__
        self._job, self._interval_s = job or Job(), interval_s
        self._profiles, self._settled = profiles, False
        self._stored: tuple[OperatingPoint, ...] = ()
        self._open_clocks, self._on_denied = clocks, on_denied
        self._clocks: Guard | None = None
        self._clock, self._now, self._warn = clock, now, warn
        self._meter = WorkMeter()
        self._ranges: dict[str, Limits] = {}
        self._progress: tuple[float, float] | None = None
        self._told: dict[str, None] = {}
        self._seen_s = self._seen_utc_s = math.nan
        self._due_s = -math.inf
        self._capped = self._bound = self._decisions = 0
        self._cpu_s = 0.0
        self._failure: OverwinterError | None = None
        self._first, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-control", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Take the devices, make the first decision, and go on deciding in a thread.

        Raises:
            RefusedError: another run holds a device.
            DeniedError: the limits may not be set, and ``on_denied`` raises.
        """
        if self._guard is not None:
            self._adopt(self._guard)
        self._thread.start()
        self._first.wait(_FIRST_S)
        if self._failure is not None:
            self.close()
            raise self._failure
        return self

    def step(self, done: float, total: float) -> None:
        """Tell progress, at a step boundary; a duty cycle waits here.

        Raises:
            DeniedError: the right to set limits was lost, and ``on_denied`` raises.
        """
        self._progress = (float(done), float(total))
        if self._failure is not None:
            raise self._failure
        if self._guard is not None and isinstance(self._guard.actuator, DutyCycle):
            self._guard.actuator.at_step()

    def close(self) -> PowerRecord:
        """Stop deciding, put every limit back, and return the record; closing again returns it again."""
        self._tell_idle_cap()
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_FIRST_S)  # a policy that hangs is not waited for
        if self._settled:
            self._keep_profile()
        for guard in (self._clocks, self._guard):
            if guard is not None:
                guard.close()
        return self.record()

    def record(self) -> PowerRecord:
        """Return what has happened so far."""
        actuator = self._guard.actuator if self._guard else None
        return PowerRecord(
            power_policy=self._name,
            actuator=actuator.name if actuator else None,
            note=actuator.note if actuator else "",
            cap_bound_fraction=self._bound / self._capped if self._capped else None,
            decisions=self._decisions,
            paused_s=actuator.paused_s if isinstance(actuator, DutyCycle) else 0.0,
            cpu_s=self._cpu_s,
            warnings=tuple(self._told),
        )

    def paused_work(self) -> PausedWork:
        """Return what the process that waits needs to know, once `pause` is set; ask before `close`."""
        energy_j, carbon_g = self._remaining()
        return PausedWork(
            devices=self._device_states(),
            points=self._points(),
            work_done=self._progress[0] if self._progress else None,
            work_total=self._progress[1] if self._progress else None,
            deadline_utc=self._job.deadline_utc,
            remaining_energy_j=energy_j,
            remaining_carbon_g=carbon_g,
            pause_w=self._job.pause_w,
            resume_s=self._job.resume_s,
        )

    # The thread.

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s) and self._failure is None:
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 -- trouble in here must never reach the work
                self._tell(f"the control loop stumbled over {error!r}; limits stay as they are")
            self._first.set()
            self._cpu_s = time.thread_time()
            wait_s = max(0.0, min(_SAMPLE_S, self._due_s - self._clock()))
        self._first.set()

    def tick(self) -> None:
        """Take one reading, and decide if it is time to: what the thread does."""
        now_s = self._clock()
        energies_j = self._read("energy", self._sources.energy_j) or {}
        limited = {device: energies_j[device] for device in self._ranges if device in energies_j}
        self._meter.note(now_s, limited, self._progress[0] if self._progress else None)
        self._look_whether_caps_bind()
        if now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            if not self._clock_jumped(now_s):
                self._decide(now_s)

    def _decide(self, now_s: float) -> None:
        observation = self._observe()
        decision = self._decision(observation)
        self._decisions += 1
        if decision.review_s is not None:
            self._due_s = now_s + min(self._interval_s, max(_SHORTEST_REVIEW_S, decision.review_s))
        if decision.pause:
            self.pause = self.pause or Pause(reason=decision.reason, since_utc=observation.time_utc)
        else:
            self.pause = None
        self._set_limits(decision)
        self._set_clock(decision.clock_mhz)
        if decision.settled and not self._settled:
            self._settled = True
            self._keep_profile()
        self._meter.decided(common_limit_w(state.current_w for state in self._device_states()))

    def _decision(self, observation: Observation) -> Decision:
        """Ask the policy; an answer that is none stands for the previous limits and no pause."""
        try:
            decision = self._policy.decide(observation)
            wrong = nonsense(decision, {state.name for state in observation.devices})
        except Exception as error:  # noqa: BLE001 -- whatever a policy raises, the work goes on
            self._tell(f"power policy {self._name} failed ({error!r}); the previous limits hold")
            return Decision(reason="the policy failed")
        if wrong:
            self._tell(f"power policy {self._name} answers nonsense ({wrong}); the previous limits hold")
            return Decision(reason="the policy answered nonsense")
        return decision

    def _observe(self) -> Observation:
        now = self._now()
        power_w, speed_per_s = self._meter.since_decision()
        energy_j, carbon_g = self._remaining()
        return Observation(
            time_utc=now,
            devices=self._device_states(),
            points=self._points(),
            work_done=self._progress[0] if self._progress else None,
            work_total=self._progress[1] if self._progress else None,
            deadline_utc=self._job.deadline_utc,
            power_w=power_w,
            speed_per_s=speed_per_s,
            intensity_g_per_kwh=self._figure("carbon intensity", self._sources.intensity_g_per_kwh, now),
            intensity_forecast=self._at("forecast of the carbon intensity", self._sources.intensity_forecast, now),
            price_per_kwh=self._figure("price", self._sources.price_per_kwh, now, signed=True),
            price_forecast=self._at("forecast of the price", self._sources.price_forecast, now),
            remaining_energy_j=energy_j,
            remaining_carbon_g=carbon_g,
            pause_w=self._job.pause_w,
            resume_s=self._job.resume_s,
        )

    def _points(self) -> tuple[OperatingPoint, ...]:
        return merged_points(self._stored, self._meter.points())

    def _remaining(self) -> tuple[float | None, float | None]:
        return self._read("remaining budget", self._sources.remaining) or (None, None)

    def _keep_profile(self) -> None:
        if self._profiles is None or not self._meter.points():
            return
        try:
            self._profiles.keep(self._points())
        except OverwinterError as error:
            self._tell(f"the profile is not kept: {error}")

    # Devices.

    def _adopt(self, guard: Guard) -> None:
        guard.open()
        try:
            self._stored = self._profiles.of(guard.actuator) if self._profiles is not None else ()
        except OverwinterError:
            guard.close()
            raise
        self._guard = guard
        self._ranges = {device: guard.actuator.limits(device) for device in guard.actuator.devices()}
        if guard.actuator.note:
            self._tell(guard.actuator.note)

    def _device_states(self) -> tuple[DeviceState, ...]:
        states = []
        for device, limits in list(self._ranges.items()):
            assert self._guard is not None  # noqa: S101 -- ranges come from a guard
            try:
                current_w = self._guard.actuator.enforced(device)
            except DeviceLostError as error:
                self._lose(device, error)
                continue
            states.append(
                DeviceState(
                    name=device,
                    min_w=limits.minimum,
                    max_w=limits.maximum,
                    default_w=limits.default,
                    previous_w=self._guard.previous(device),
                    current_w=current_w,
                )
            )
        return tuple(states)

    def _set_limits(self, decision: Decision) -> None:
        for device in list(self._ranges):
            self._apply(device, decision.limits_w.get(device))

    def _apply(self, device: str, limit_w: float | None) -> None:
        if self._guard is None or device not in self._ranges:
            return
        try:
            self._guard.apply(device, limit_w)
        except LimitError as error:
            self._tell(f"{error} The previous limit holds.")
            self._apply(device, None)
        except DeniedError as error:
            self._without_right(error)
        except DeviceLostError as error:
            self._lose(device, error)

    def _set_clock(self, clock_mhz: int | None) -> None:
        if clock_mhz is not None and self._clocks is None and self._open_clocks is not None:
            open_clocks, self._open_clocks = self._open_clocks, None
            try:
                self._clocks = open_clocks().open()
            except OverwinterError as error:
                self._tell(f"clocks stay as they are: {error}")
        if self._clocks is None:
            if clock_mhz is not None and self._ranges:
                self._tell("clocks stay as they are: nothing here takes a clock limit")
            return
        for device in self._clocks.actuator.devices():
            try:
                self._clocks.apply(device, clock_mhz)
            except OverwinterError as error:
                self._tell(f"clocks stay as they are: {error}")

    def _without_right(self, error: DeniedError) -> None:
        denied, self._guard, self._ranges = self._guard, None, {}
        if denied is not None:
            denied.close()
        try:
            replacement = self._on_denied(error) if self._on_denied else None
            if replacement is not None:
                self._adopt(replacement)
                self._due_s = -math.inf  # the decision was made for other devices
        except OverwinterError as failure:
            self._failure = failure
            return
        self._tell(str(error))

    def _lose(self, device: str, error: DeviceLostError) -> None:
        self._ranges.pop(device, None)
        self._tell(f"{error} It is left out from now on.")

    def _look_whether_caps_bind(self) -> None:
        if self._guard is None:
            return
        for device in list(self._ranges):
            try:
                enforced_w = self._guard.actuator.enforced(device)
                if enforced_w >= self._guard.previous(device) - 1:
                    continue
                bound = self._guard.actuator.bound(device)
            except DeviceLostError as error:
                self._lose(device, error)
                continue
            if bound is None and device in self._meter.latest_w:
                bound = self._meter.latest_w[device] >= _NEAR * enforced_w
            if bound is not None:
                self._capped += 1
                self._bound += bound

    def _tell_idle_cap(self) -> None:
        if self._capped >= _ENOUGH_LOOKS and self._bound < _SELDOM * self._capped:
            self._tell(
                f"the cap held the work back {self._bound / self._capped:.0%} of the time: it draws less than the "
                "limit. A lower limit would bind, or locked clocks (power=static power.clock_mhz=...)"
            )

    # Readings.

    def _clock_jumped(self, now_s: float) -> bool:
        """Whether the time on the wall leapt since the last decision, forth or back, or the machine slept."""
        utc_s = self._now().timestamp()
        leap_s = (utc_s - self._seen_utc_s) - (now_s - self._seen_s)
        self._seen_s, self._seen_utc_s = now_s, utc_s
        if abs(leap_s) > _JUMP_S:  # never at the first decision, when there is nothing to compare with
            self._tell(f"the clock jumped by {leap_s:.0f} s; limits stay as they are until the next decision")
            return True
        return False

    def _read(self, what: str, source: Callable[[], Reading] | None) -> Reading | None:
        if source is None:
            return None
        try:
            return source()
        except Exception as error:  # noqa: BLE001 -- third parties' sources; the work goes on without
            self._tell(f"{what} is not known: {error!r}")
            return None

    def _at(self, what: str, source: Callable[[datetime], Reading] | None, now: datetime) -> Reading | None:
        return None if source is None else self._read(what, lambda: source(now))

    def _figure(
        self,
        what: str,
        source: Callable[[datetime], float | None] | None,
        now: datetime,
        *,
        signed: bool = False,
    ) -> float | None:
        value = self._at(what, source, now)
        if value is None:
            return None
        if not math.isfinite(value) or (value < 0 and not signed):
            self._tell(f"{what} of {value} makes no sense; it counts as not known")
            return None
        return float(value)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told[text] = None
            self._warn(text)


def nonsense(decision: Any, devices: set[str]) -> str:
    """Say what is wrong with a policy's answer; empty: nothing."""
    if not isinstance(decision, Decision):
        return f"{type(decision).__name__} instead of a Decision"
    if decision.pause not in (True, False):
        return f"pause={decision.pause!r}"
    unknown = [device for device in decision.limits_w if device not in devices]
    if unknown:
        return f"a limit for {unknown[0]!r}, which is not here"
    figures = {**decision.limits_w, "review_s": decision.review_s, "clock_mhz": decision.clock_mhz}
    wrong = [f"{key}={value!r}" for key, value in figures.items() if value is not None and not _is_figure(value)]
    return wrong[0] if wrong else ""


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
