"""The actuator `duty_cycle`: pauses at step boundaries that keep the average power under a limit.

It needs no privileges. It caps average power and saves no energy by itself, since the device draws its idle power
while the work takes longer. Its purpose is circuits, cooling and contracts, and the record states this.

The joules drawn are compared with ``limit * time``: when a step exceeds it, the work waits until the average is below
the limit again; the wait takes the idle power of earlier pauses into account. Unused energy expires within seconds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from overwinter.errors import ConfigError
from overwinter.power.actuators.values import ActuatorSettings, Limits, Permission

_CREDIT_S = 2.0  # unused energy expires after this time
_LOOK_S = 0.25  # minimum time between two meter readings, which take some 0.1 ms
_MIN_S = 0.005
_MAX_S = 5.0  # longest sleep before the meter is read again: the idle power may differ from the estimate
_MAX_SHARE = 0.95  # maximum share of pauses, so that the work always progresses


@dataclass
class _Account:
    """Energy account of one device.

    Attributes:
        limit_w: limit of the average power; None: no limit.
        balance_j: joules that may be drawn without a pause; a negative balance requires a pause.
        idle_w: power in the latest pause; 0 before the first.
    """

    limit_w: float | None = None
    balance_j: float = 0.0
    energy_j: float = 0.0
    idle_w: float = 0.0


class DutyCycle:
    """Limits average power by pausing. The work calls `at_step`; the control loop calls everything else.

    Args:
        devices: range of each device; the minimum is above its idle power.
        energy_j: returns the joules that a device has drawn since a fixed time.
        clock: returns monotonic seconds.
        sleep: sleeps for some seconds.
    """

    name = "duty_cycle"
    quantity: Literal["power_w", "clock_mhz"] = "power_w"
    note = "duty cycle: caps average power by pausing between steps, and saves no energy by itself"

    def __init__(
        self,
        devices: Mapping[str, Limits],
        energy_j: Callable[[str], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ranges, self._energy_j = dict(devices), energy_j
        self._clock, self._sleep = clock, sleep
        self._accounts = {device: _Account() for device in devices}
        self._lock = threading.Lock()
        self._looked_s = clock()
        self._waited_s = -math.inf
        self.paused_s = 0.0

    def devices(self) -> tuple[str, ...]:
        """Return the devices."""
        return tuple(self._ranges)

    def permission(self) -> Permission:
        """Return that it is granted: pausing needs no privileges."""
        return Permission(granted=True)

    def limits(self, device: str) -> Limits:
        """Return the range of the average power."""
        ranges, held_w = self._ranges[device], self._accounts[device].limit_w
        current_w = ranges.maximum if held_w is None else held_w
        return Limits(minimum=ranges.minimum, maximum=ranges.maximum, default=ranges.default, current=current_w)

    def apply(self, device: str, value: float) -> None:
        """Limit the device's average power from now on; its maximum removes the limit."""
        with self._lock:
            free = value >= self._ranges[device].maximum
            self._accounts[device] = _Account(
                limit_w=None if free else value,
                energy_j=self._energy_j(device),
                idle_w=self._accounts[device].idle_w,
            )

    def enforced(self, device: str) -> float:
        """Return the limit of the average power."""
        return self._accounts[device].limit_w or self._ranges[device].maximum

    def bound(self, device: str) -> bool | None:
        """Return whether the work had to wait recently; None without a limit."""
        if self._accounts[device].limit_w is None:
            return None
        return self._clock() - self._waited_s < _CREDIT_S

    def key(self, device: str) -> str | None:  # noqa: ARG002 -- for all devices
        """Return None: the limit ends with the process."""
        return None

    def snapshot(self, device: str) -> Mapping[str, int]:  # noqa: ARG002 -- as above
        """Return an empty snapshot: there is nothing to restore."""
        return {}

    def commands(
        self,
        device: str,  # noqa: ARG002 -- as above
        snapshot: Mapping[str, int],  # noqa: ARG002
        ours: Sequence[float],  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Return no commands, as above."""
        return []

    def at_step(self) -> float:
        """Wait as long as the limits require, and return the seconds waited.

        Call it at every step boundary; it is cheap when no wait is due.
        """
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_S:
            return 0.0
        waited_s, allowed_s = 0.0, _MAX_SHARE / (1 - _MAX_SHARE) * (now_s - self._looked_s)
        self._settle(now_s)
        while waited_s < allowed_s and (due_s := min(self._due_s(), allowed_s - waited_s)) > _MIN_S:
            self._wait(min(due_s, _MAX_S))
            waited_s = self._clock() - now_s
        if waited_s:
            self._waited_s = self._clock()
        self.paused_s += waited_s
        return waited_s

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _wait(self, duration_s: float) -> None:
        before = {device: account.energy_j for device, account in self._accounts.items()}
        began_s = self._clock()
        self._sleep(duration_s)
        self._settle(self._clock())
        gone_s = max(self._clock() - began_s, 1e-9)
        for device, account in self._accounts.items():
            account.idle_w = (account.energy_j - before[device]) / gone_s if account.limit_w else account.idle_w

    def _settle(self, now_s: float) -> None:
        """Update the balances with the elapsed time and the joules drawn."""
        with self._lock:
            gone_s, self._looked_s = max(0.0, now_s - self._looked_s), now_s
            for device, account in self._accounts.items():
                energy_j = self._energy_j(device)
                drawn_j, account.energy_j = max(0.0, energy_j - account.energy_j), energy_j
                if account.limit_w is not None:
                    max_j = account.limit_w * _CREDIT_S
                    account.balance_j = min(account.balance_j + account.limit_w * gone_s - drawn_j, max_j)

    def _due_s(self) -> float:
        """Return the seconds until no balance is negative."""
        return max((_due_s(account) for account in self._accounts.values()), default=0.0)


def _due_s(account: _Account) -> float:
    if account.limit_w is None or account.balance_j >= 0:
        return 0.0
    gain_w = account.limit_w - account.idle_w
    return -account.balance_j / gain_w if gain_w > 0 else math.inf


def open_duty_cycle(settings: ActuatorSettings) -> DutyCycle:
    """Open a duty cycle over the metered devices."""
    if not settings.duty_devices or settings.energy_j is None:
        raise ConfigError("power.actuator=duty_cycle: no device is metered, so average power cannot be limited.")
    return DutyCycle(settings.duty_devices, settings.energy_j)
