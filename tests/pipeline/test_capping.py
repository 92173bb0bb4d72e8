"""The observations for a power policy while a stage runs, and while it waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.carbon.fallback import FallbackChain
from overwinter.carbon.trace import read_trace
from overwinter.carbon.trace_source import TraceSource
from overwinter.config import Config, find_project, load_config
from overwinter.pipeline.capping import DEADLINE, _job, observer
from overwinter.pipeline.identity import workload
from overwinter.power.control.pausing import PausedWork
from overwinter.power.interface import OperatingPoint
from overwinter.power.policies.budget_pacing import BudgetPacing
from overwinter.power.policies.planned import PriceAware
from overwinter.power.policies.planned_settings import CarbonAwarePowerConfig, PriceAwarePowerConfig

_ROOT = Path(__file__).parents[2]
_NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
_COMMON: Any = {"actuator": "auto", "on_denied": "ignore", "interval_s": 60.0, "share_device": "refuse"}
_PLANNED: Any = {"deadline": "36 h", "pause": True, "pause_w": 0.0, "resume_s": 5.0, "profile": None, **_COMMON}


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(find_project(_ROOT))


def _csv(path: Path, column: str, hours: int = 10 * 24) -> Path:
    start = _NOON - timedelta(hours=hours - 24)
    rows = [f"{start + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ},{100 + hour % 24}" for hour in range(hours)]
    path.write_text("\n".join([f"time_utc,{column}", *rows]) + "\n")
    return path


def _paused(**changed: Any) -> PausedWork:
    nothing: Any = dict.fromkeys(("work_done", "work_total", "deadline_utc"))
    return PausedWork(**{"devices": (), "points": (), "pause_w": 0, "resume_s": 0, **nothing, **changed})


def test_a_duration_counts_from_the_first_start_also_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    power = CarbonAwarePowerConfig(policy="carbon_aware", **_PLANNED)
    fresh = _job(power).deadline_utc
    assert fresh is not None
    assert abs(fresh - datetime.now(UTC) - timedelta(hours=36)) < timedelta(minutes=1)
    monkeypatch.setenv(DEADLINE, _NOON.isoformat())
    assert _job(power).deadline_utc == _NOON


def test_while_it_waits_the_policy_sees_intensity_forecast_prices_and_what_was_left(tmp_path: Path) -> None:
    carbon = TraceSource(read_trace(_csv(tmp_path / "c.csv", "g_per_kwh")), name="c.csv", kind="average")
    prices = str(_csv(tmp_path / "p.csv", "price_per_kwh"))
    power = PriceAwarePowerConfig(policy="price_aware", prices=prices, **_PLANNED)
    work = _paused(remaining_energy_j=5.0, remaining_carbon_g=None)
    seen = observer(work, FallbackChain([carbon]), power, print)(_NOON)
    assert (seen.intensity_g_per_kwh, seen.price_per_kwh, seen.remaining_energy_j) == (100, 100, 5)
    assert seen.intensity_forecast.values[:3] == pytest.approx((100, 101, 102))
    assert len(seen.price_forecast.values) == 24  # the file ends there
    assert not PriceAware().decide(seen).pause
    assert not BudgetPacing().decide(seen).pause


def test_outside_the_prices_the_waiting_ends_and_says_why(tmp_path: Path) -> None:
    prices = str(_csv(tmp_path / "p.csv", "price_per_kwh"))
    power = PriceAwarePowerConfig(policy="price_aware", prices=prices, **_PLANNED)
    constant: Any = SimpleNamespace(at=lambda _: SimpleNamespace(g_per_kwh=1.0))
    messages: list[str] = []
    deadline = _NOON + timedelta(days=10)
    points = tuple(OperatingPoint(limit_w=w, power_w=w - 9, speed_per_s=w / 200) for w in (100, 200))
    work = _paused(points=points, work_done=1.0, work_total=900.0, deadline_utc=deadline)
    observe = observer(work, constant, power, messages.append)
    decisions = [PriceAware().decide(observe(_NOON + timedelta(days=9, minutes=minute))) for minute in range(3)]
    assert not any(decision.pause for decision in decisions)
    assert [line.partition(":")[0] for line in messages] == ["price is unknown", "forecast of the price is unknown"]
    assert "p.csv (power.prices) covers" in messages[0]


def test_the_workload_is_the_work_and_not_how_often_or_under_which_policy(config: Config) -> None:
    described = workload(config, "train")
    assert {"model", "data", "train", "stage"} <= described.keys()
    assert not {"seed", "power"} & described.keys()
    assert "epochs" not in described["train"]
    assert described["train"]["batch_size"] == config.train.batch_size
    assert workload(config, "evaluate")["model"] == config.model
