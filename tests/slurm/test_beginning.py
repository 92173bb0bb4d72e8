"""The start of a sweep by the carbon forecast."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from overwinter.budget import Range
from overwinter.carbon.provider import Point as Hour
from overwinter.config.groups.slurm import SlurmSettings
from overwinter.errors import OverwinterError
from overwinter.slurm.beginning import chosen_start
from overwinter.slurm.programs import make_programs
from tests.slurm.test_programs import nothing

HOUR_S = 3600.0


class PretendedCosts:
    """Each stage is expected to take half an hour, an hour at most."""

    def stage(self, point, stage):
        return SimpleNamespace(duration_s=Range(low=0.0, expected=HOUR_S / 2, high=HOUR_S))


def start(point, forecast, *, workers=64, points=1, **settings):
    source = SimpleNamespace() if forecast is None else SimpleNamespace(forecast=forecast)
    made = [point(str(number), train="a", sparsify=str(number)) for number in range(points)]
    made[0].config.carbon = SimpleNamespace(source="pretended", open=lambda: source)
    programs = make_programs(made, ended=(), is_done=nothing)
    chosen = SlurmSettings(workers=workers, **{"start": "carbon", "deadline_h": 12.0} | settings)
    return chosen_start(made, programs.values(), PretendedCosts(), chosen)


def hours(*values):
    def forecast(now_utc):
        return tuple(Hour(time_utc=now_utc + timedelta(hours=at), g_per_kwh=value) for at, value in enumerate(values))

    return forecast


DIRTY_THEN_CLEAN = hours(400.0, 400.0, 400.0, 100.0, 100.0, 100.0, 400.0, 400.0)


def test_the_jobs_may_start_when_their_hours_are_cleanest(point):
    wait_s, why = start(point, DIRTY_THEN_CLEAN)
    assert wait_s == pytest.approx(3 * HOUR_S, abs=2)
    assert "100 g/kWh over its 2 h 00 min by the forecast, 400 if it started now" in why


def test_the_sweep_ends_within_its_deadline(point):
    wait_s, _ = start(point, DIRTY_THEN_CLEAN, deadline_h=4.0)
    assert wait_s == pytest.approx(2 * HOUR_S, abs=2)
    assert start(point, DIRTY_THEN_CLEAN, deadline_h=1.0)[0] == 0


def test_few_workers_make_a_sweep_longer(point):
    assert "over its 5 h 00 min" in start(point, DIRTY_THEN_CLEAN, workers=1, points=4)[1]


def test_without_a_forecast_the_sweep_starts_now_and_says_so(point):
    assert start(point, None) == (0, "the sweep starts now: carbon.source=pretended has no forecast")
    assert start(point, lambda now_utc: ()) == (0, "the sweep starts now: carbon.source=pretended has no forecast")

    def broken(now_utc):
        raise OverwinterError("no network")

    assert "has no forecast (no network)" in start(point, broken)[1]
    assert start(point, hours(1.0, 2.0, 3.0))[1].startswith("the sweep starts now: no later start")
    assert start(point, None, start="now") == (0, "")
