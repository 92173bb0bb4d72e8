"""What a power policy sees, what it answers, and the one method that it has.

A policy is pure: the same observation gives the same decision, so that a simulation and the real loop run the
same object. It keeps nothing between two calls; what it must remember (which limits were tried, how much work
is done) comes back in the next observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values that hold for one step each, the first from ``start_utc`` on; never empty.

    A forecast starts with the step that contains the time of the observation.
    """

    start_utc: datetime
    step_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """One device that takes power limits.

    Attributes:
        name: such as ``gpu:0`` or ``cpu-package-0``; the key of the decision.
        min_w: the lowest limit that it takes.
        max_w: the highest.
        default_w: the maker's.
        previous_w: the limit before our first change; a decision never goes above it.
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
        """The highest limit that a policy may ask for: what an operator has set is never raised."""
        return min(self.max_w, self.previous_w)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What the work does under one power limit: measured in this run, or read from a stored profile.

    Attributes:
        limit_w: the limit on every device.
        power_w: mean power that all devices together draw.
        speed_per_s: work per second, in the unit of ``work_total``.
        trials: how many measurements, each as long as a decision holds, these are the means of.
    """

    limit_w: float
    power_w: float
    speed_per_s: float
    trials: int = 1


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is known when a decision is due. None: not known, or there is none.

    Attributes:
        time_utc: now, with time zone UTC.
        devices: what can be limited; a decision holds for all of them, or names each.
        points: what is known of speed and power under limits, one per limit, in rising order of the limit.
        work_done: units of work done so far (optimizer steps, samples).
        work_total: units of work of the whole job.
        deadline_utc: when all work must be done.
        power_w: mean power of the devices since the last decision.
        speed_per_s: work per second since the last decision.
        intensity_g_per_kwh: the grid's carbon intensity now.
        intensity_forecast: of the step that is running, and of the next ones.
        renewable_share: of the electricity now, from 0 to 1.
        price_per_kwh: what energy costs now.
        price_forecast: like that of the intensity.
        remaining_energy_j: what is left of the budget of energy.
        remaining_carbon_g: what is left of the budget of carbon.
        pause_w: power drawn in a pause before the job's end; 0 where the device is handed back.
        resume_s: time that a pause costs beside its own length: saving, starting again, loading.
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
    """What the work promises.

    Attributes:
        deadline_utc: when it must be done; None: no matter when.
        pause_w: power drawn in a pause before its end; 0 where the device is handed back.
        resume_s: time that a pause costs beside its own length.
    """

    deadline_utc: datetime | None = None
    pause_w: float = 0.0
    resume_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do until the next decision.

    Attributes:
        limits_w: limit per device name; a device that is missing, or None, gets its previous limit back.
        clock_mhz: locked clock of every GPU; None unlocks.
        pause: stop the work, and release the device, until a later decision says otherwise.
        review_s: ask again after so many seconds at the latest; None: when the loop's own period is over.
        settled: a search is over: what is known of the work by now is worth keeping in a profile.
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
    """Decides on limits and pauses; made by its settings (`overwinter.power.PowerConfig`), which are registered."""

    def decide(self, observation: Observation) -> Decision:
        """Answer one observation.

        Limits lie within each device's ``min_w`` and ``ceiling_w``; one that a device does not take is refused by
        the loop, which says so and leaves the previous one. What is missing from the observation is answered by a
        safe decision (the previous limit, no pause) and a reason, never by an exception.
        """
        ...
