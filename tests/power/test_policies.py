import importlib.metadata
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from overwinter.config import check_settings
from overwinter.config.groups import SCHEMAS
from overwinter.errors import ConfigError
from overwinter.power.interface import Decision, DeviceState, Observation, OperatingPoint, PowerPolicy, Series
from overwinter.power.policies.budget_pacing import BudgetPacing
from overwinter.power.policies.energy_optimal import EnergyOptimal
from overwinter.power.policies.limits import read_limit
from overwinter.power.policies.no_cap import NoCap, NoCapPowerConfig
from overwinter.power.policies.planned import CarbonAware, PriceAware
from overwinter.power.policies.planned_settings import CarbonAwarePowerConfig, PriceAwarePowerConfig
from overwinter.power.policies.schedule import Schedule, ScheduleRule, read_rules, read_time_zone
from overwinter.power.policies.static import StaticCap
from overwinter.power.settings import read_deadline
from overwinter.registries import POWER_POLICIES

CONFIGS = Path(__file__).parents[2] / "configs" / "power"
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday
POINTS = tuple(
    OperatingPoint(limit_w=limit, power_w=power, speed_per_s=speed)
    for limit, power, speed in ((100, 95, 0.5), (150, 140, 0.85), (200, 185, 0.95), (250, 220, 1.0))
)
GPU = DeviceState(name="gpu0", min_w=100, max_w=250, default_w=250, previous_w=250, current_w=250)


def observation(**changed):
    base = Observation(
        time_utc=NOW,
        devices=(GPU,),
        points=POINTS,
        work_done=0.0,
        work_total=10 * 3600.0,
        deadline_utc=NOW + timedelta(hours=20),
    )
    return replace(base, **changed)


def hours(values, start=NOW):
    return Series(start_utc=start, step_s=3600.0, values=tuple(values))


ALL = (
    NoCap(),
    StaticCap(limit=read_limit("60 %", key="power.limit")),
    Schedule(rules=read_rules([ScheduleRule("mon-sun", "00:00-24:00", "190 W", False)]), time_zone=ZoneInfo("UTC")),
    EnergyOptimal(max_slowdown=0.2, step_w=25.0),
    BudgetPacing(),
    CarbonAware(),
    CarbonAware(pauses=False),
    PriceAware(),
)
anything = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -50.0]))
values = st.one_of(st.floats(-500, 1000), st.sampled_from([0.0, math.nan, math.inf]))
series = st.one_of(
    st.none(),
    st.builds(
        Series,
        start_utc=st.sampled_from([NOW, NOW - timedelta(hours=3), NOW + timedelta(days=2), NOW - timedelta(days=400)]),
        step_s=st.sampled_from([300.0, 1800.0, 3600.0]),
        values=st.lists(values, min_size=1, max_size=30).map(tuple),
    ),
)


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: type(policy).__name__)
@given(data=st.data())
@settings(max_examples=40)
def test_limits_stay_within_the_range_and_an_operator_s_limit(policy, data):
    previous_w = data.draw(st.floats(100, 250))
    seen = observation(
        devices=(replace(GPU, previous_w=previous_w), replace(GPU, name="gpu1", min_w=120, max_w=200, previous_w=180)),
        points=data.draw(st.sampled_from([POINTS, POINTS[:1], (), (replace(POINTS[0], speed_per_s=math.nan),)])),
        work_done=data.draw(st.sampled_from([None, 0.0, 9 * 3600.0, 1e9])),
        work_total=data.draw(st.sampled_from([None, 10 * 3600.0])),
        deadline_utc=data.draw(st.sampled_from([None, NOW + timedelta(hours=20), NOW - timedelta(days=3)])),
        intensity_forecast=data.draw(series),
        price_forecast=data.draw(series),
        intensity_g_per_kwh=data.draw(anything),
        remaining_energy_j=data.draw(st.one_of(st.none(), st.floats(-1e9, 1e9))),
        remaining_carbon_g=data.draw(st.one_of(st.none(), st.floats(-1e3, 1e6))),
        pause_w=data.draw(st.sampled_from([0.0, 25.0])),
        resume_s=data.draw(st.sampled_from([0.0, 60.0])),
    )
    decision = policy.decide(seen)
    assert decision == policy.decide(seen)
    assert decision.reason
    assert decision.review_s is None or 0 < decision.review_s <= 3600
    for device in seen.devices:
        limit_w = decision.limits_w.get(device.name)
        assert limit_w is None or device.min_w <= limit_w <= device.ceiling_w


@pytest.mark.parametrize("policy", [CarbonAware(), CarbonAware(pauses=False), PriceAware()])
@given(
    forecasts=st.lists(series, min_size=1, max_size=8),
    slack=st.floats(1.001, 3.0),
    pause_w=st.sampled_from([0.0, 25.0]),
    jump_s=st.sampled_from([0.0, 0.0, -5400.0]),
)
@settings(max_examples=40)
def test_the_deadline_is_kept_whatever_the_forecast_says(policy, forecasts, slack, pause_w, jump_s):
    total, speed = 6 * 3600.0, {point.limit_w: point.speed_per_s for point in POINTS}
    gone_s, done, asked = 0.0, 0.0, 0
    deadline = NOW + timedelta(seconds=total * slack)
    while done < total * (1 - 1e-9):
        # the wall clock jumps back for an hour, then is correct again
        shown_s = gone_s + (jump_s if 7200 < gone_s < 10800 else 0.0)
        forecast = forecasts[asked % len(forecasts)]
        decision = policy.decide(
            observation(
                time_utc=NOW + timedelta(seconds=shown_s),
                work_done=done,
                work_total=total,
                deadline_utc=deadline,
                intensity_forecast=forecast,
                price_forecast=forecast,
                pause_w=pause_w,
            )
        )
        limit_w = decision.limits_w.get("gpu0") or 250
        rate = 0.0 if decision.pause else speed[limit_w]
        lasting_s = min(decision.review_s or 3600.0, 3600 - gone_s % 3600 or 3600.0)
        lasting_s = min(lasting_s, (total - done) / rate) if rate else lasting_s
        done, gone_s, asked = done + rate * lasting_s, gone_s + lasting_s, asked + 1
        assert asked < 2000
        if jump_s and gone_s < 10800:
            continue
        if jump_s and (total - done) > total * slack - gone_s:
            return  # the clock lied until it was too late
        assert (total - done) / 1.0 <= total * slack - gone_s + 1.0


def test_carbon_aware_pauses_in_dirty_hours_and_runs_in_clean_ones():
    dirty_first = observation(intensity_forecast=hours([900] * 8 + [100] * 12))
    clean_first = observation(intensity_forecast=hours([100] * 12 + [900] * 8))
    assert CarbonAware().decide(dirty_first).pause
    assert not CarbonAware().decide(clean_first).pause
    assert not CarbonAware(pauses=False).decide(dirty_first).pause


def test_without_forecast_the_least_energy_by_the_deadline_is_taken():
    assert CarbonAware().decide(observation()).limits_w == {"gpu0": 150}


def test_a_negative_intensity_in_the_forecast_counts_as_zero():
    falling = observation(intensity_forecast=hours([50.0] * 3 + [-20.0] * 17))
    clean = observation(intensity_forecast=hours([50.0] * 3 + [0.0] * 17))
    assert CarbonAware().decide(falling) == CarbonAware().decide(clean)


def test_price_aware_follows_prices_and_not_carbon():
    seen = observation(intensity_forecast=hours([100] * 12 + [900] * 8), price_forecast=hours([0.9] * 8 + [0.1] * 12))
    assert PriceAware().decide(seen).pause


def test_no_time_to_spare_means_no_cap():
    seen = observation(deadline_utc=NOW + timedelta(hours=10), intensity_forecast=hours([900] * 20))
    assert CarbonAware().decide(seen).limits_w == {}
    assert not CarbonAware().decide(seen).pause


def test_a_pause_that_costs_more_than_it_lasts_is_not_taken():
    seen = observation(
        time_utc=NOW + timedelta(minutes=58), intensity_forecast=hours([900, *[100] * 20]), resume_s=300.0
    )
    assert not CarbonAware().decide(seen).pause
    assert CarbonAware().decide(replace(seen, resume_s=10.0)).pause


def test_static_takes_watts_and_shares_of_the_range():
    for text, expected in (("150 W", 150), ("0 %", 100), ("100 %", 250), ("40 %", 160)):
        assert StaticCap(limit=read_limit(text, key="k")).decide(observation()).limits_w == {"gpu0": expected}
    assert StaticCap(limit=None, clock_mhz=900).decide(observation()) == Decision(
        clock_mhz=900, reason="the configured limit"
    )


def test_a_limit_is_moved_below_an_operators_and_never_into_the_range():
    held = observation(devices=(replace(GPU, previous_w=180),))
    for text, expected in (("100 %", 180), ("200 W", 180), ("170 W", 170), ("90 W", 90), ("1 kW", 1000)):
        assert StaticCap(limit=read_limit(text, key="k")).decide(held).limits_w == {"gpu0": expected}


def test_a_schedule_follows_its_time_zone_and_spans_midnight():
    rules = read_rules(
        [ScheduleRule("mon-fri", "22:00-06:00", None, True), ScheduleRule("sat,sun", "00:00-24:00", "100 W", False)]
    )
    policy = Schedule(rules=rules, time_zone=read_time_zone("Europe/Berlin"))

    def at(text):
        return policy.decide(observation(time_utc=datetime.fromisoformat(text).astimezone(UTC)))

    assert at("2026-03-02T21:30:00+00:00").pause  # 22:30 in Berlin
    assert not at("2026-03-02T20:30:00+00:00").pause
    assert at("2026-03-07T03:00:00+01:00").pause  # Friday's night, on Saturday
    assert at("2026-03-07T07:00:00+01:00").limits_w == {"gpu0": 100}
    assert at("2026-07-06T20:30:00+00:00").pause  # 22:30 in summer


def test_energy_optimal_tries_and_settles_within_its_slowdown():
    policy, known = EnergyOptimal(max_slowdown=0.1, step_w=50.0), {}
    truth = {point.limit_w: point for point in POINTS}
    for _ in range(10):
        points = tuple(known[limit_w] for limit_w in sorted(known))
        limit_w = policy.decide(observation(points=points)).limits_w["gpu0"]
        if limit_w in known:
            break
        known[limit_w] = truth[limit_w]
    assert limit_w == 200  # 150 W needs less, and is 18 % slower
    assert 100 not in known  # it is below what is too slow


def test_energy_optimal_retries_limits_that_may_still_be_the_best():
    policy = EnergyOptimal(max_slowdown=None, step_w=50.0)

    def reported(trials_150, trials_200):
        rows = ((100, 150, 1), (150, 100, trials_150), (200, 103, trials_200), (250, 130, 1))
        points = [OperatingPoint(limit_w=w, power_w=j, speed_per_s=1.0, trials=trials) for w, j, trials in rows]
        return policy.decide(observation(points=tuple(points)))

    assert (reported(10, 1).limits_w, reported(10, 1).settled) == ({"gpu0": 200}, False)
    assert (reported(10, 10).limits_w, reported(10, 10).settled) == ({"gpu0": 150}, True)
    assert reported(50, 1).settled  # enough is enough


def test_budget_pacing_spends_evenly():
    seen = observation(remaining_energy_j=20 * 3600 * 150.0)
    assert BudgetPacing().decide(seen).limits_w["gpu0"] == pytest.approx(150)
    by_carbon = replace(seen, remaining_carbon_g=20 * 0.12 * 100.0, intensity_g_per_kwh=100.0)
    assert BudgetPacing().decide(by_carbon).limits_w["gpu0"] == pytest.approx(120)
    two = replace(seen, devices=(GPU, replace(GPU, name="gpu1")), remaining_energy_j=20 * 3600 * 400.0)
    assert BudgetPacing().decide(two).limits_w == pytest.approx({"gpu0": 200, "gpu1": 200})


def test_budget_pacing_pauses_for_a_part_of_the_hour_where_no_limit_is_low_enough():
    poor = observation(remaining_energy_j=20 * 3600 * 47.5)  # half of what the lowest limit draws
    working, resting = (
        poor,
        replace(poor, time_utc=NOW + timedelta(minutes=45), deadline_utc=NOW + timedelta(hours=20.75)),
    )
    assert BudgetPacing().decide(working).review_s == pytest.approx(1800, abs=1)
    assert BudgetPacing().decide(resting).pause


def test_budget_pacing_pauses_for_parts_of_minutes_where_the_deadline_is_near():
    soon = observation(remaining_energy_j=600 * 47.5, deadline_utc=NOW + timedelta(minutes=10))
    assert BudgetPacing().decide(soon).review_s == pytest.approx(30, abs=1)
    resting = replace(soon, time_utc=NOW + timedelta(seconds=45), deadline_utc=NOW + timedelta(minutes=10, seconds=45))
    decision = BudgetPacing().decide(resting)
    assert (decision.pause, decision.review_s) == (True, pytest.approx(15))


def test_budget_pacing_limits_before_it_pauses_where_the_lowest_limit_is_not_known_yet():
    seen = observation(points=POINTS[-1:], work_total=None, remaining_energy_j=20 * 3600 * 47.5)
    assert BudgetPacing().decide(seen).limits_w == {"gpu0": 100}
    assert not BudgetPacing().decide(seen).pause


def test_budget_pacing_without_deadline_looks_at_the_work():
    seen = observation(deadline_utc=None, remaining_energy_j=10 * 3600 * 196.0)
    assert BudgetPacing().decide(seen).limits_w == {"gpu0": 200}


def test_budget_pacing_uses_a_faster_limit_if_a_high_idle_power_makes_it_cheaper():
    """The even rate, 163 W for 14 h, is below every limit; 200 W do the work in time and within the budget."""
    idling = tuple(replace(point, power_w=180 + 0.2 * point.power_w) for point in POINTS)
    seen = observation(
        points=idling, deadline_utc=NOW + timedelta(hours=14), remaining_energy_j=10 * 3600 * 1.02 * idling[-1].power_w
    )
    assert BudgetPacing().decide(seen).limits_w == {"gpu0": 200}
    slow_alone = replace(seen, points=idling[:1])
    assert "without a cap" in BudgetPacing().decide(slow_alone).reason


@pytest.mark.parametrize("policy", [CarbonAware(), PriceAware(), BudgetPacing()], ids=lambda each: type(each).__name__)
def test_where_only_the_uncapped_point_is_known_one_lower_limit_is_tried(policy):
    known = POINTS[-1]
    scarce = {"deadline_utc": None, "remaining_energy_j": 1.0} if isinstance(policy, BudgetPacing) else {}
    seen = observation(points=(known,), **scarce)
    tried_w = policy.decide(seen).limits_w["gpu0"]
    assert GPU.min_w < tried_w < known.limit_w
    two = replace(seen, points=(OperatingPoint(limit_w=tried_w, power_w=tried_w, speed_per_s=0.8), known))
    assert "trying" not in policy.decide(two).reason
    assert "trying" not in policy.decide(replace(seen, devices=())).reason


def test_nothing_unknown_is_tried_while_time_is_short():
    short = observation(points=POINTS[-1:], deadline_utc=NOW + timedelta(hours=10.5))
    assert "trying" not in CarbonAware().decide(short).reason


def test_decisions_are_quick():
    plan = observation(
        intensity_forecast=hours([100 + 7 * (hour % 24) for hour in range(336)]),
        work_total=150 * 3600.0,
        deadline_utc=NOW + timedelta(hours=336),
        pause_w=25.0,
        remaining_energy_j=1e7,
    )
    for policy in ALL:
        allowed_s = 0.05 if isinstance(policy, CarbonAware | PriceAware) else 0.001
        spent = []
        for _ in range(5):
            began = time.thread_time()
            policy.decide(plan)
            spent.append(time.thread_time() - began)
        assert min(spent) < allowed_s, type(policy).__name__


def test_every_built_in_policy_is_a_policy():
    assert all(isinstance(policy, PowerPolicy) for policy in ALL)
    assert {"none", "static", "schedule", "energy_optimal", "budget_pacing", "carbon_aware", "price_aware"} <= set(
        POWER_POLICIES.names()
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_option_of_the_group_fits_its_schema_and_opens_its_policy(path, tmp_path):
    content = OmegaConf.load(path)
    if path.stem == "price_aware":
        (tmp_path / "prices.csv").touch()
        content.prices = str(tmp_path / "prices.csv")  # required, without a default
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SCHEMAS["power"](content)), content))
    config.check("power")
    assert config.policy == path.stem
    assert isinstance(config.open(), PowerPolicy)


def test_an_unknown_policy_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"power\.policy='carbon_awre' is unknown.*Did you mean 'carbon_aware'"):
        SCHEMAS["power"]({"policy": "carbon_awre"})


def offer(monkeypatch, value):
    point = importlib.metadata.EntryPoint(name="mine", value=value, group="overwinter.power_policies")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])


def test_a_third_party_policy_is_found_by_its_entry_point(monkeypatch):
    offer(monkeypatch, "overwinter.power.policies.no_cap:NoCapPowerConfig")
    assert "mine" in POWER_POLICIES.names()
    assert SCHEMAS["power"]({"policy": "mine"}) is NoCapPowerConfig


def test_an_entry_point_that_is_no_settings_is_refused(monkeypatch):
    offer(monkeypatch, "math:gcd")
    with pytest.raises(ConfigError, match=r"power\.policy='mine' is registered as .*gcd.* not a dataclass"):
        SCHEMAS["power"]({"policy": "mine"})


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: read_limit("120 %", key="power.limit"), "power.limit='120 %' is more than the whole range"),
        (lambda: read_limit("fast", key="power.limit"), "power.limit='fast' is not a quantity"),
        (lambda: read_limit("0 W", key="power.limit"), "above 0 W"),
        (lambda: read_time_zone("Mars/Base"), "power.time_zone='Mars/Base' is unknown"),
        (lambda: read_rules([ScheduleRule("mo", "1:00-2:00", None, True)]), r"power.rules\[0\].days='mo'"),
        (lambda: read_rules([ScheduleRule("mon", "25:00-2:00", None, True)]), r"power.rules\[0\].hours"),
        (lambda: read_deadline("2026-03-01T08:00:00", started_utc=NOW), "has no time zone"),
        (lambda: read_deadline("soon", started_utc=NOW), "power.deadline='soon'"),
    ],
)
def test_invalid_text_is_named(read, message):
    with pytest.raises(ConfigError, match=message):
        read()


def test_deadlines_are_times_or_durations():
    assert read_deadline("36 h", started_utc=NOW) == NOW + timedelta(hours=36)
    assert read_deadline("2026-03-01T08:00:00+01:00", started_utc=NOW) == datetime(2026, 3, 1, 7, tzinfo=UTC)
    assert read_deadline(None, started_utc=NOW) is None


def checked(config):
    check_settings(config, key="power")
    config.check("power")


def _common(**changed):
    return {"actuator": "auto", "on_denied": "ignore", "interval_s": 60.0, "share_device": "refuse"} | changed


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (CarbonAwarePowerConfig(policy="carbon_aware", **_common(on_denied="igore")), "power.on_denied='igore'"),
        (CarbonAwarePowerConfig(policy="carbon_aware", **_common(interval_s=0.0)), "power.interval_s=0.0"),
        (
            CarbonAwarePowerConfig(policy="carbon_aware", deadline="1 h", pause_w=-1, **_common()),
            "power.pause_w=-1",
        ),
        (
            PriceAwarePowerConfig(policy="price_aware", deadline=None, pause_w=0, resume_s=0, prices="p", **_common()),
            "power.prices='p' does not exist",
        ),
    ],
)
def test_values_out_of_range_are_refused_with_their_key(config, key):
    with pytest.raises(ConfigError, match=key):
        checked(config)


def test_hours_that_end_where_they_begin_are_a_whole_day() -> None:
    rule = read_rules([ScheduleRule(days="mon", hours="22:00-22:00", limit="50 %", pause=False)])[0]
    monday = datetime(2026, 6, 1, 22, tzinfo=UTC)
    assert [rule.holds(monday + timedelta(hours=hours)) for hours in (-0.1, 0, 12, 23.9, 24)] == [0, 1, 1, 1, 0]
