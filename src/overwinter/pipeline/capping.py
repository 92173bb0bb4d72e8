"""The power policy while a stage runs: limits follow it, and a pause ends the process until it lets the work go on."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from overwinter.config.checks.power import read_deadline
from overwinter.config.groups.power import CappedPowerConfig, DeadlinePowerConfig, PlannedPowerConfig
from overwinter.errors import ConfigError

# Set by the program that waited: the process is older than the stage's work, and its past is counted already.
WAITED = "OVERWINTER_WAITED"

if TYPE_CHECKING:
    from overwinter.carbon import IntensitySource
    from overwinter.config import Config
    from overwinter.energy import EnergyMeter
    from overwinter.power.control import PowerControl
    from overwinter.power.control_observing import Job, Sources
    from overwinter.power.control_pausing import PausedWork


@contextlib.contextmanager
def capped(
    config: Config, meter: EnergyMeter, carbon: IntensitySource, say: Callable[[str], None]
) -> Iterator[PowerControl | None]:
    """Let the configured policy limit the power inside; every limit is back afterwards.

    Args:
        config: the whole configuration.
        meter: running.
        carbon: where the intensity comes from.
        say: takes one line for a person.

    Yields:
        the control, or None for the policy `none`.

    Raises:
        RefusedError: another run holds a device.
        ConfigError: the policy cannot be followed here.
    """
    power = config.power
    if not isinstance(power, CappedPowerConfig):
        yield None
        return
    from overwinter.power.control_opening import open_control
    from overwinter.power.policies import open_policy

    _refuse_unfed(power)
    with open_control(
        power,
        open_policy(power),
        energy=config.energy,
        hardware=config.hardware,
        sources=_sources(meter, carbon),
        warn=say,
        job=_job(power),
    ) as control:
        yield control


def wait_and_return(work: PausedWork, command: Sequence[str]) -> NoReturn:
    """Become the small program that waits; it becomes ``command`` again when the policy lets the work go on.

    The process keeps its id, so that DVC goes on waiting for it; the accelerator and the memory are let go.
    """
    from overwinter.power.control_pausing import replace_process

    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="overwinter-pause-", delete=False) as stream:
        json.dump(work.to_json(), stream)
    replace_process([sys.executable, "-m", "overwinter.pipeline.waiting", stream.name, *command])


def observer(work: PausedWork, carbon: IntensitySource) -> Callable[[datetime], Any]:
    """Return what observes for a policy while the work is paused."""
    from overwinter.power.control_observing import forecast_series

    ahead = getattr(carbon, "forecast", None)

    def observe(time_utc: datetime) -> Any:
        known: dict[str, Any] = {"intensity_g_per_kwh": carbon.at(time_utc).g_per_kwh}
        if ahead is not None:
            known["intensity_forecast"] = forecast_series(ahead(time_utc), time_utc)
        return work.observe(time_utc, **known)

    return observe


def _refuse_unfed(power: CappedPowerConfig) -> None:
    """Refuse what a running stage cannot feed its policy yet: an option that does nothing would be a lie."""
    for name in ("profile", "prices"):
        if getattr(power, name, None) is not None:
            raise ConfigError(
                f"power.{name} is read by `overwinter simulate power` only so far. Set power.{name}=null."
            )
    if power.policy in ("price_aware", "budget_pacing"):
        raise ConfigError(f"power.policy={power.policy} cannot follow a stage yet. Choose another policy.")


def _sources(meter: EnergyMeter, carbon: IntensitySource) -> Sources:
    from overwinter.power.control_opening import sources_of

    return sources_of(meter, carbon)


def _job(power: CappedPowerConfig) -> Job:
    from overwinter.power.control_observing import Job

    if not isinstance(power, DeadlinePowerConfig):
        return Job()
    deadline = read_deadline(power.deadline, started_utc=datetime.now(UTC))
    if not isinstance(power, PlannedPowerConfig):
        return Job(deadline_utc=deadline)
    return Job(deadline_utc=deadline, pause_w=power.pause_w, resume_s=power.resume_s)


def stage_command(arguments: Sequence[str]) -> list[str]:
    """Return how this very program is started again."""
    return [sys.executable, str(Path(sys.argv[0]).resolve()), *arguments]
