"""The start of a sweep: now, or when its hours are cleanest by the carbon forecast, within the deadline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from overwinter.carbon.cleanest import cleanest_start
from overwinter.config.groups.slurm import SlurmSettings
from overwinter.errors import OverwinterError
from overwinter.slurm.programs import Program
from overwinter.sweep.costs import Costs
from overwinter.sweep.points import Point
from overwinter.units import format_duration


def chosen_start(
    points: Sequence[Point], programs: Iterable[Program], costs: Costs, settings: SlurmSettings
) -> tuple[int, str]:
    """Return the seconds until the first jobs may start, and why; no reason for a start that was not to be chosen.

    Args:
        points: The points that have not ended.
        programs: The programs that they need.
        costs: The forecasts of their stages.
        settings: The sweep's settings.
    """
    if settings.start == "now":
        return 0, ""
    now_utc = datetime.now(UTC)
    forecast_of = getattr(points[0].config.carbon.open(), "forecast", None)
    try:
        forecast = forecast_of(now_utc) if forecast_of is not None else ()
    except OverwinterError as error:
        return 0, f"the sweep starts now: its carbon source has no forecast ({error})"
    if not forecast:
        return 0, f"the sweep starts now: carbon.source={points[0].config.carbon.source} has no forecast"
    duration_s = _duration_s(programs, costs, settings.workers)
    latest_utc = now_utc + timedelta(hours=settings.deadline_h, seconds=-duration_s)
    start = cleanest_start(forecast, now_utc=now_utc, duration_s=duration_s, latest_utc=latest_utc)
    took = format_duration(duration_s)
    if start is None or start.start_utc == now_utc:
        return 0, f"the sweep starts now: no later start within {settings.deadline_h:g} h is cleaner for its {took}"
    wait_s = round((start.start_utc - now_utc).total_seconds())
    return wait_s, (
        f"the sweep starts in {format_duration(wait_s)}: {start.g_per_kwh:.0f} g/kWh over its {took} by the forecast, "
        f"{start.now_g_per_kwh:.0f} if it started now"
    )


def _duration_s(programs: Iterable[Program], costs: Costs, workers: int) -> float:
    """Return the time that the stages take by their forecasts: along the longest chain, or by the number at once."""
    ends_s: dict[str, float] = {}
    total_s = 0.0
    for each in programs:
        expected = None if each.is_gate else costs.stage(each.example, each.stage).duration_s
        took_s = 0.0 if expected is None else expected.high
        total_s += took_s
        ends_s[each.id] = took_s + (ends_s.get(each.after, 0.0) if each.after is not None else 0.0)
    return max([total_s / workers, *ends_s.values()])
