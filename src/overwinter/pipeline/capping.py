"""The power policy while work runs: it sets limits, and a stage's pause replaces its process until it may resume."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# Set by the waiting program: the process is older than the stage's work, and its earlier costs are already recorded.
WAITED = "OVERWINTER_WAITED"
# Also set by it: a deadline configured as a duration counts from the stage's first start.
DEADLINE = "OVERWINTER_DEADLINE"

if TYPE_CHECKING:
    from overwinter.carbon import IntensitySource
    from overwinter.energy import EnergyMeter
    from overwinter.pipeline.supervised import Supervised
    from overwinter.power.control.loop import PowerControl
    from overwinter.power.control.pausing import PausedWork
    from overwinter.power.interface import Job, Observation
    from overwinter.power.prices import Prices
    from overwinter.power.profile_store import ProfileStore
    from overwinter.power.settings import PowerConfig


@contextlib.contextmanager
def capped(work: Supervised, meter: EnergyMeter, carbon: IntensitySource) -> Iterator[PowerControl | None]:
    """Apply the configured power policy inside the context, and restore every limit afterwards.

    Args:
        work: The work, with its watch attached.
        meter: The running meter.
        carbon: The source of the carbon intensity.

    Yields:
        The control, or None for the policy `none`.

    Raises:
        RefusedError: another run controls a device.
        ConfigError: the policy is not supported on this machine, or its stored profile is of another workload.
    """
    power = work.config.power
    if not power.limits_power:
        yield None
        return
    from overwinter.power.control.observing import metered, sources_of
    from overwinter.power.control.opening import open_control

    with open_control(
        power,
        power.open(),
        energy=work.config.energy,
        hardware=work.config.hardware,
        sources=sources_of(carbon, energy_j=lambda: metered(meter), remaining=work.remaining, prices=_prices(power)),
        warn=work.log,
        job=_job(power),
        profiles=_profiles(work, power),
    ) as control:
        yield control


def wait_and_return(work: PausedWork, command: Sequence[str]) -> NoReturn:
    """Replace this process by a small waiting program, which runs ``command`` again when the policy resumes the work.

    The process keeps its id, so DVC keeps waiting for it; the accelerator and the memory are released.
    """
    from overwinter.power.control.pausing import replace_process

    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="overwinter-pause-", delete=False) as stream:
        json.dump(work.to_json(), stream)
    replace_process([sys.executable, "-m", "overwinter.pipeline.waiting", stream.name, *command])


def observer(
    work: PausedWork, carbon: IntensitySource, power: PowerConfig, notify: Callable[[str], None]
) -> Callable[[datetime], Observation]:
    """Return a function that makes the policy's observations while the work is paused.

    Args:
        work: The paused work.
        carbon: The source of the carbon intensity.
        power: The group `power`.
        notify: A function that shows one line to the user.
    """
    from overwinter.power.control.observing import Readings, sources_of
    from overwinter.power.control.warn_once import WarnOnce

    readings = Readings(sources_of(carbon, prices=_prices(power)), WarnOnce(notify).notify)
    return lambda time_utc: work.observe(time_utc, **readings.outside(time_utc))


def _prices(power: PowerConfig) -> Prices | None:
    table = power.price_table()
    if table is None:
        return None
    from overwinter.power.prices import Prices

    return Prices(table)


def _profiles(work: Supervised, power: PowerConfig) -> ProfileStore | None:
    """Return the store of the work's power profile; None if the policy uses none."""
    use = power.profile_use()
    if use is None:
        return None
    from overwinter.power.profile import workload_digest
    from overwinter.power.profile_store import ProfileStore

    place = work.profile_place(use.folder)
    if not use.writes and not place.exists():
        work.log(f"no power profile of this work in {place.parent} yet: the policy learns one during the run")
    return ProfileStore(place, workload=workload_digest(work.workload()), writes=use.writes)


def _job(power: PowerConfig) -> Job:
    job, begun = power.job(datetime.now(UTC)), os.environ.get(DEADLINE)
    return replace(job, deadline_utc=datetime.fromisoformat(begun)) if begun else job


def stage_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that starts this program again."""
    return [sys.executable, str(Path(sys.argv[0]).resolve()), *arguments]
