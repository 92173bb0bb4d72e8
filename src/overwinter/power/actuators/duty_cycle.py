"""Pauses at step boundaries that hold the average power under a limit: for everyone, without any rights.

This caps average power; it saves no energy by itself, since the device goes on drawing its idle power while
the work takes longer. It is there for circuits, cooling and contracts, and the record says so.

Joules drawn are held against ``limit * time``: when a step leaves a device ahead of it, the work waits until
time has caught up, reckoning with the idle power seen in earlier pauses. What a slow stretch leaves
unused may be spent within the next seconds, not for ever.
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

_CREDIT_S = 2.0  # unused power is forgotten after so long
_LOOK_S = 0.25  # steps shorter than this share a look at the meter, which costs some 0.1 ms
_MIN_S = 0.005
_MAX_S = 5.0  # a pause is looked at again after so long: the idle power may not be what was thought
_MAX_SHARE = 0.95  # of the time may go by in pauses: the work always gets on


@dataclass
class _Account:
    """What one device may draw.

    Attributes:
        limit_w: None where nothing is held.
        balance_j: joules that may be drawn without a pause; below zero is what a pause has to make good.
        idle_w: what it draws in a pause, as far as one was seen.
    """

    limit_w: float | None = None
    balance_j: float = 0.0
    energy_j: float = 0.0
    idle_w: float = 0.0


class DutyCycle:
    """Average power held by pausing. `at_step` is called by the work, everything else by the control loop.

    Args:
        devices: what it holds, with the range of each; the minimum lies above its idle power.
        energy_j: joules that a device has drawn since some fixed moment.
        clock: monotonic seconds.
        sleep: waits.
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
        """Return what it holds."""
        return tuple(self._ranges)

    def permission(self) -> Permission:
        """Everyone may pause."""
        return Permission(granted=True)

    def limits(self, device: str) -> Limits:
        """Return the range in which it can hold the average."""
        ranges, held_w = self._ranges[device], self._accounts[device].limit_w
        current_w = ranges.maximum if held_w is None else held_w
        return Limits(minimum=ranges.minimum, maximum=ranges.maximum, default=ranges.default, current=current_w)

    def apply(self, device: str, value: float) -> None:
        """Hold the device's average from now on; its maximum holds nothing."""
        with self._lock:
            free = value >= self._ranges[device].maximum
            self._accounts[device] = _Account(
                limit_w=None if free else value,
                energy_j=self._energy_j(device),
                idle_w=self._accounts[device].idle_w,
            )

    def enforced(self, device: str) -> float:
        """Return what is held."""
        return self._accounts[device].limit_w or self._ranges[device].maximum

    def bound(self, device: str) -> bool | None:
        """Return whether the work has had to wait lately."""
        if self._accounts[device].limit_w is None:
            return None
        return self._clock() - self._waited_s < _CREDIT_S

    def key(self, device: str) -> str | None:  # noqa: ARG002 -- for all devices
        """Return None: it ends with the process."""
        return None

    def snapshot(self, device: str) -> Mapping[str, int]:  # noqa: ARG002 -- as above
        """Return nothing: there is nothing to put back."""
        return {}

    def commands(
        self,
        device: str,  # noqa: ARG002 -- as above
        snapshot: Mapping[str, int],  # noqa: ARG002
        ours: Sequence[float],  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Return nothing, as above."""
        return []

    def at_step(self) -> float:
        """Wait as long as the limits ask for; return the seconds waited.

        Call it at every step boundary, where nothing is half done; it is cheap where none is due.
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
        """Nothing is held open."""

    def _wait(self, duration_s: float) -> None:
        before = {device: account.energy_j for device, account in self._accounts.items()}
        began_s = self._clock()
        self._sleep(duration_s)
        self._settle(self._clock())
        gone_s = max(self._clock() - began_s, 1e-9)
        for device, account in self._accounts.items():
            account.idle_w = (account.energy_j - before[device]) / gone_s if account.limit_w else account.idle_w

    def _settle(self, now_s: float) -> None:
        """Add the time that went by, and take the joules that were drawn."""
        with self._lock:
            gone_s, self._looked_s = max(0.0, now_s - self._looked_s), now_s
            for device, account in self._accounts.items():
                energy_j = self._energy_j(device)
                drawn_j, account.energy_j = max(0.0, energy_j - account.energy_j), energy_j
                if account.limit_w is not None:
                    max_j = account.limit_w * _CREDIT_S
                    account.balance_j = min(account.balance_j + account.limit_w * gone_s - drawn_j, max_j)

    def _due_s(self) -> float:
        """How long until the last account is out of the red."""
        return max((_due_s(account) for account in self._accounts.values()), default=0.0)


def _due_s(account: _Account) -> float:
    if account.limit_w is None or account.balance_j >= 0:
        return 0.0
    gain_w = account.limit_w - account.idle_w
    return -account.balance_j / gain_w if gain_w > 0 else math.inf


def open_duty_cycle(settings: ActuatorSettings) -> DutyCycle:
    """Open a duty cycle over the metered devices."""
    if not settings.duty_devices or settings.energy_j is None:
        raise ConfigError("power.actuator=duty_cycle: nothing here is metered, so no average can be held.")
    return DutyCycle(settings.duty_devices, settings.energy_j)
