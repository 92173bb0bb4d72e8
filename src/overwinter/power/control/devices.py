"""Devices of a control loop: one guard sets power limits, and another sets clocks if a policy uses them.

A lost device is ignored; an unsupported limit leaves the previous one; without permission to set limits, the guard is
replaced as configured. Each is reported, and the work continues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from overwinter.errors import OverwinterError
from overwinter.power.actuators.duty_cycle import DutyCycle
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import DeniedError, DeviceLostError, LimitError, Limits
from overwinter.power.guard.guard import Guard
from overwinter.power.interface import Decision, DeviceState

_ENOUGH_LOOKS = 30  # before reporting that a cap does not bind
_SELDOM = 0.05  # share of the capped time below which a cap does not bind
_NEAR = 0.95  # share of its limit from which a device counts as limited by it
_SAME_W = 1.0


class Devices:
    """The devices that can be limited, until closed.

    Args:
        guard: sets power limits, not opened yet; None: nothing can be limited.
        open_clocks: opens a guard over locked clocks; called once, when a policy sets a clock.
        on_denied: called without permission to set limits: returns another guard, or None to continue without one,
            or raises.
        taken: called with every actuator whose devices are taken; if it raises, they are released.
        notify: reports one line to the user.

    Attributes:
        failure: exception of ``on_denied``; the work must end.
    """

    def __init__(
        self,
        guard: Guard | None,
        *,
        open_clocks: Callable[[], Guard] | None,
        on_denied: Callable[[DeniedError], Guard | None] | None,
        taken: Callable[[Actuator], None],
        notify: Callable[[str], None],
    ) -> None:
        self.failure: OverwinterError | None = None
        self._configured = guard
        self._guard: Guard | None = None
        self._clocks: Guard | None = None
        self._open_clocks, self._on_denied = open_clocks, on_denied
        self._taken, self._notify = taken, notify
        self._ranges: dict[str, Limits] = {}
        self._looks = self._bound = 0

    def open(self) -> None:
        """Take the devices.

        Raises:
            RefusedError: another run holds a device.
            OverwinterError: a device does not respond, or ``taken`` raises.
        """
        if self._configured is not None:
            self._adopt(self._configured)

    @property
    def actuator(self) -> Actuator | None:
        """The actuator that sets the limits; None: none."""
        return self._guard.actuator if self._guard is not None else None

    @property
    def sets_limits(self) -> bool:
        """Whether a device draws less under a limit while it works, as it does not in a duty cycle."""
        return bool(self._ranges) and not isinstance(self.actuator, DutyCycle)

    @property
    def names(self) -> tuple[str, ...]:
        """The devices that can be limited now."""
        return tuple(self._ranges)

    @property
    def cap_bound_fraction(self) -> float | None:
        """Share of the capped time in which the cap slowed the work down; None: never capped."""
        return self._bound / self._looks if self._looks else None

    @property
    def paused_s(self) -> float:
        """Seconds that a duty cycle has paused."""
        return self.actuator.paused_s if isinstance(self.actuator, DutyCycle) else 0.0

    def states(self) -> tuple[DeviceState, ...]:
        """Return the state of each device, as a policy sees it."""
        return tuple(state for device in self.names if (state := self._state(device)) is not None)

    def carry_out(self, decision: Decision) -> bool:
        """Set limits and clocks; return False if the guard was replaced, so that a new decision is due."""
        guard = self._guard
        for device in self.names:
            self._apply(device, decision.limits_w.get(device))
        self._set_clock(decision.clock_mhz)
        return self._guard is guard or self._guard is None

    def look(self, latest_w: Mapping[str, float]) -> None:
        """Record whether caps slow the work down at this moment.

        Args:
            latest_w: power drawn by each device, for those that do not report whether the cap binds.
        """
        for device in self.names:
            try:
                bound = self._is_bound(device, latest_w)
            except DeviceLostError as error:
                self._lose(device, error)
                continue
            if bound is not None:
                self._looks += 1
                self._bound += bound

    def at_step(self) -> None:
        """Let a duty cycle wait, if there is one; call it at a step boundary."""
        if isinstance(self.actuator, DutyCycle):
            self.actuator.at_step()

    def close(self) -> None:
        """Restore all settings, and report a cap that rarely bound."""
        if self._looks >= _ENOUGH_LOOKS and self._bound < _SELDOM * self._looks:
            self._notify(
                f"the cap slowed the work down {self._bound / self._looks:.0%} of the time: it draws less than the "
                "limit. Set a lower limit, or lock the clocks (power=static power.clock_mhz=...)"
            )
        for guard in (self._clocks, self._guard):
            if guard is not None:
                guard.close()

    # Power limits.

    def _adopt(self, guard: Guard) -> None:
        guard.open()
        try:
            self._taken(guard.actuator)
        except OverwinterError:
            guard.close()
            raise
        self._guard = guard
        for device in guard.devices:
            try:
                self._ranges[device] = guard.actuator.limits(device)
            except DeviceLostError as error:
                self._lose(device, error)
        if guard.actuator.note:
            self._notify(guard.actuator.note)

    def _state(self, device: str) -> DeviceState | None:
        assert self._guard is not None  # noqa: S101 -- ranges come from a guard
        limits = self._ranges[device]
        try:
            current_w = self._guard.actuator.enforced(device)
        except DeviceLostError as error:
            self._lose(device, error)
            return None
        return DeviceState(
            name=device,
            min_w=limits.minimum,
            max_w=limits.maximum,
            default_w=limits.default,
            previous_w=self._guard.previous(device),
            current_w=current_w,
        )

    def _apply(self, device: str, limit_w: float | None) -> None:
        if self._guard is None or device not in self._ranges:
            return  # the device or the permission was lost since the decision
        try:
            self._guard.apply(device, limit_w)
        except LimitError as error:
            self._notify(f"{error} The previous limit holds.")
            if limit_w is not None:
                self._apply(device, None)
        except DeniedError as error:
            self._replace_guard(error)
        except DeviceLostError as error:
            self._lose(device, error)

    def _replace_guard(self, error: DeniedError) -> None:
        denied, self._guard, self._ranges = self._guard, None, {}
        if denied is not None:
            denied.close()
        try:
            replacement = self._on_denied(error) if self._on_denied else None
            if replacement is not None:
                self._adopt(replacement)
        except OverwinterError as failure:
            self.failure = failure
            return
        self._notify(str(error))

    def _lose(self, device: str, error: DeviceLostError) -> None:
        self._ranges.pop(device, None)
        self._notify(f"{error} It is ignored from now on.")

    def _is_bound(self, device: str, latest_w: Mapping[str, float]) -> bool | None:
        """Return whether the cap slows the device down; None: no cap, or unknown."""
        assert self._guard is not None  # noqa: S101 -- as above
        enforced_w = self._guard.actuator.enforced(device)
        if enforced_w >= self._guard.previous(device) - _SAME_W:
            return None
        bound = self._guard.actuator.bound(device)
        if bound is None and device in latest_w:
            return latest_w[device] >= _NEAR * enforced_w
        return bound

    # Clocks.

    def _set_clock(self, clock_mhz: int | None) -> None:
        if clock_mhz is not None and self._clocks is None:
            self._take_clocks()
        if self._clocks is None:
            return
        for device in self._clocks.devices:
            try:
                self._clocks.apply(device, clock_mhz)
            except OverwinterError as error:
                self._notify(f"clocks are unchanged: {error}")

    def _take_clocks(self) -> None:
        if self._open_clocks is None:
            return  # tried before, or another rank of the node sets them
        open_clocks, self._open_clocks = self._open_clocks, None
        try:
            self._clocks = open_clocks().open()
        except OverwinterError as error:
            self._notify(f"clocks are unchanged: {error}")
