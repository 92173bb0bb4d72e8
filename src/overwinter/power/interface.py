"""The protocol of power policies: the observation, the decision, and the one method.

A policy is pure: the same observation gives the same decision, so that a simulation and the real loop run the
same object. It keeps no state between calls; the next observation contains what it needs (the limits that were
tried, the work done).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values of consecutive steps, the first from ``start_utc`` on; never empty.

    A forecast starts with the step that contains the observation's time.
    """

    start_utc: datetime
    step_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """A device with a power limit.

    Attributes:
        name: name such as ``gpu:0`` or ``cpu-package-0``; the key in a decision.
        min_w: the lowest supported limit.
        max_w: the highest supported limit.
        default_w: the vendor's default limit.
        previous_w: the limit before the first change; a decision never exceeds it.
        current_w: the limit that is enforced now.
    """

    name: str
    min_w: float
    max_w: float
    default_w: float
    previous_w: float
    current_w: float

    @property
    def ceiling_w(self) -> float:
        """The highest limit that a policy may set: an operator's limit is never raised."""
        return min(self.max_w, self.previous_w)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Power and speed of the work under one power limit, measured in this run or read from a stored profile.

    Attributes:
        limit_w: the limit on every device.
        power_w: mean power of all devices together.
        speed_per_s: work per second, in the unit of ``work_total``.
        trials: number of measurements behind these means; each lasts as long as a decision.
    """

    limit_w: float
    power_w: float
    speed_per_s: float
    trials: int = 1


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The input of a decision. None: unknown or absent.

    Attributes:
        time_utc: current time, with time zone UTC.
        devices: devices with a power limit; a decision applies to all of them, or names each.
        points: known operating points, one per limit, in rising order of the limit.
        work_done: units of work done so far (optimizer steps, samples).
        work_total: units of work of the whole job.
        deadline_utc: deadline of the whole job.
        power_w: mean power of the devices since the last decision.
        speed_per_s: work per second since the last decision.
        intensity_g_per_kwh: current carbon intensity of the grid.
        intensity_forecast: intensities of the current step and the next ones.
        renewable_share: current renewable share of the electricity, from 0 to 1.
        price_per_kwh: current price of energy.
        price_forecast: prices of the current step and the next ones.
        remaining_energy_j: remaining energy budget.
        remaining_carbon_g: remaining carbon budget.
        pause_w: power drawn in a pause before the job's end; 0 if the device is released.
        resume_s: time that a pause costs in addition to its length: saving, restarting, loading.
    """

    time_utc: datetime
    devices: tuple[DeviceState, ...]
    points: tuple[OperatingPoint, ...] = ()
    work_done: float | None = None
    work_total: float | None = None
    deadline_utc: datetime | None = None
    power_w: float | None = None
    speed_per_s: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_forecast: Series | None = None
    renewable_share: float | None = None
    price_per_kwh: float | None = None
    price_forecast: Series | None = None
    remaining_energy_j: float | None = None
    remaining_carbon_g: float | None = None
    pause_w: float = 0.0
    resume_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job's deadline and the cost of a pause.

    Attributes:
        deadline_utc: time by which the job must be done; None: no deadline.
        pause_w: power drawn in a pause before the job's end; 0 if the device is released.
        resume_s: time that a pause costs in addition to its length.
    """

    deadline_utc: datetime | None = None
    pause_w: float = 0.0
    resume_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Limits, clock and pause until the next decision.

    Attributes:
        limits_w: limit per device name; a device that is missing, or None, gets its previous limit back.
        clock_mhz: locked clock of every GPU; None unlocks.
        pause: whether to pause the work and release the device, until a later decision resumes it.
        review_s: maximum seconds until the next decision; None: the loop's interval.
        settled: whether a search is over, so that its operating points are worth storing in a profile.
        reason: one line for the user and the record.
    """

    limits_w: Mapping[str, float | None] = field(default_factory=dict)
    clock_mhz: int | None = None
    pause: bool = False
    review_s: float | None = None
    settled: bool = False
    reason: str = ""


@runtime_checkable
class PowerPolicy(Protocol):
    """Decides on limits and pauses; its registered settings (`overwinter.power.PowerConfig`) create it."""

    def decide(self, observation: Observation) -> Decision:
        """Return the decision for an observation.

        Limits must be between each device's ``min_w`` and ``ceiling_w``; the loop refuses any other, reports it and
        keeps the previous limit. If the observation lacks something, return a safe decision (the previous limit, no
        pause) with a reason; never raise.
        """
        ...
