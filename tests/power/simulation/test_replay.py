from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.carbon.forecast import Hours, by_hour, hour_of
from overwinter.carbon.trace import read_trace
from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.interface import Decision, OperatingPoint
from overwinter.power.policies.no_cap import NoCap
from overwinter.power.policies.planned import CarbonAware
from overwinter.power.simulation.device import DeviceTable, parse_select, read_device_table, read_workloads
from overwinter.power.simulation.replay import ForecastMemory, Job, best_under, draw_starts, replay, run_under
from overwinter.power.simulation.report import compare, simulate

DATA = Path(__file__).parents[4] / "shared" / "data"
FIRST = hour_of(datetime(2026, 1, 1, tzinfo=UTC))
TABLE = DeviceTable(
    select={},
    points=tuple(
        OperatingPoint(limit_w=limit, power_w=power, speed_per_s=speed / 3600)
        for limit, power, speed in ((100, 95, 0.5), (150, 140, 0.85), (200, 185, 0.95), (250, 220, 1.0))
    ),
)


def wavy(days=50, floor=200.0, seed=0):
    hour = np.arange(24 * days)
    noise = np.random.default_rng(seed).normal(0, 15, len(hour))
    return Hours(first=FIRST, values=floor + 100 * np.sin(2 * np.pi * hour / 24) + noise)


def test_without_a_cap_the_sum_is_watts_times_intensity():
    trace, job = wavy(), Job(hours=5.5, slack=2.0)
    outcome = replay(NoCap(), TABLE, job, trace, FIRST + 900, ForecastMemory(trace))
    intensity = trace.values[900:906] @ [1, 1, 1, 1, 1, 0.5]
    assert outcome.cost == pytest.approx(0.220 * intensity)
    assert outcome.energy_j == pytest.approx(220 * 5.5 * 3600)
    assert outcome.hours == pytest.approx(5.5)
    single = run_under(250, TABLE, job, trace, FIRST + 900)
    assert (single.cost, single.energy_j) == pytest.approx((outcome.cost, outcome.energy_j))


class PauseThenRun:
    """Pauses for the first half of every hour."""

    def decide(self, observation):
        if observation.time_utc.minute < 30:
            return Decision(pause=True, review_s=1800.0)
        return Decision(limits_w={"device": 125.0})


def test_pauses_within_an_hour_are_paid_up_to_the_end_and_limits_between_rows_interpolated():
    trace, job = Hours(first=FIRST, values=np.full(1000, 100.0)), Job(hours=0.675, slack=4.0, pause_w=25.0)
    outcome = replay(PauseThenRun(), TABLE, job, trace, FIRST + 900, ForecastMemory(trace))
    assert outcome.hours == pytest.approx(2.0)  # two halves at 0.675
    assert outcome.energy_j == pytest.approx(3600 * (25.0 + 117.5))
    assert outcome.cost == pytest.approx(0.1425 * 100)


@given(
    st.floats(2.0, 12.0),
    st.floats(1.0, 3.0),
    st.sampled_from([0.0, 25.0]),
    st.sampled_from([200.0, 100.0, 0.0]),
    st.integers(0, 3),
)
@settings(max_examples=30)
def test_nothing_beats_the_optimum_and_no_deadline_is_missed(hours, slack, pause_w, floor, seed):
    trace, job = wavy(floor=floor, seed=seed), Job(hours=hours, slack=slack, pause_w=pause_w)
    start, forecasts = FIRST + 36 * 24 + 7, ForecastMemory(trace)
    best = best_under(TABLE, job, trace, start)
    policy = replay(CarbonAware(), TABLE, job, trace, start, forecasts)
    assert not policy.missed
    assert not best.missed
    for outcome in (policy, replay(NoCap(), TABLE, job, trace, start, forecasts)):
        assert best.cost <= outcome.cost + 1e-6 * (abs(outcome.cost) + 1)
    for point in TABLE.points:
        single = run_under(point.limit_w, TABLE, job, trace, start)
        assert single.missed or best.cost <= single.cost + 1e-6 * (abs(single.cost) + 1)


@pytest.mark.parametrize("pause_w", [0.0, 25.0])
def test_more_slack_never_makes_the_optimum_worse(pause_w):
    trace = wavy()
    grams = [
        best_under(TABLE, Job(hours=10, slack=slack, pause_w=pause_w), trace, FIRST + 900).cost
        for slack in (1.0, 1.05, 1.1, 1.5, 2.0, 3.3)
    ]
    assert grams == sorted(grams, reverse=True)


def test_the_optimum_s_energy_and_cost_match_its_plan():
    trace = wavy()
    flat = Hours(first=FIRST, values=np.full(1200, 250.0))
    for pause_w in (0.0, 25.0):
        job = Job(hours=10, slack=2.0, pause_w=pause_w)
        assert best_under(TABLE, job, trace, FIRST + 900).hours <= 20
        best = best_under(TABLE, job, flat, FIRST + 900)
        assert best.energy_j * 250 / 3.6e6 == pytest.approx(best.cost)
        assert best.energy_j == pytest.approx(140 / 0.85 * 10 * 3600)


def test_the_policy_sees_no_later_hour():
    class Spy:
        def __init__(self):
            self.seen = []

        def decide(self, observation):
            self.seen.append((observation.intensity_g_per_kwh, observation.intensity_forecast))
            return Decision()

    trace, job = wavy(), Job(hours=4, slack=2.0)
    later = Hours(first=FIRST, values=np.where(np.arange(1200) > 902, 0.0, trace.values))
    spies = Spy(), Spy()
    for spy, values in zip(spies, (trace, later), strict=True):
        replay(spy, TABLE, job, values, FIRST + 900, ForecastMemory(values))
    assert spies[0].seen[:3] == spies[1].seen[:3]
    assert spies[0].seen[3] != spies[1].seen[3]


def test_the_same_seed_gives_the_same_result():
    trace, job = wavy(), Job(hours=6, slack=1.5)
    first, second = (simulate(CarbonAware(), TABLE, job, trace, count=5, seed=3) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.starts != simulate(CarbonAware(), TABLE, job, trace, count=5, seed=4).starts


def test_the_best_single_limit_misses_no_deadline():
    trace, job = wavy(), Job(hours=6, slack=1.06)
    compared = compare(CarbonAware(), TABLE, job, trace, draw_starts(trace, job, 5, 0), ForecastMemory(trace))
    assert compared.best_static_w == 200
    assert compared.to_json()["best_static"]["missed_deadlines"] == 0


def test_a_policy_that_never_works_is_ended_with_a_message():
    class Lazy:
        def decide(self, observation):
            return Decision(pause=True)

    with pytest.raises(ConfigError, match="has not finished the job"):
        replay(Lazy(), TABLE, Job(hours=1, slack=1.5), wavy(), FIRST + 900, ForecastMemory(wavy()))


def test_a_limit_out_of_range_is_refused():
    class Wild:
        def decide(self, observation):
            return Decision(limits_w={"device": 900.0})

    with pytest.raises(ConfigError, match="limit of 900 W is outside"):
        replay(Wild(), TABLE, Job(hours=1, slack=1.5), wavy(), FIRST + 900, ForecastMemory(wavy()))


def test_a_policy_that_fails_or_returns_an_invalid_decision_is_reported_with_its_time():
    class Broken:
        def __init__(self, response):
            self.respond = response

        def decide(self, observation):
            return self.respond if self.respond is not ZeroDivisionError else 1 / 0

    for response, message in (
        (ZeroDivisionError, r"failed at 2026-02-07 12:00: ZeroDivisionError"),
        (None, "NoneType instead of a Decision"),
        (Decision(limits_w={"gpu:7": 100.0}), "unknown device 'gpu:7'"),
    ):
        with pytest.raises(OverwinterError, match=message):
            replay(Broken(response), TABLE, Job(hours=1, slack=1.5), wavy(), FIRST + 900, ForecastMemory(wavy()))


def test_a_trace_without_room_is_refused():
    with pytest.raises(ConfigError, match="five weeks of past"):
        draw_starts(wavy(days=36), Job(hours=24, slack=1.5), 5, 0)


def test_rows_that_differ_in_other_columns_are_averaged(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "network,optimizer,power_limit(W),time_per_epoch(s),average_power(W)\n"
        "a,adam,100,30,90\na,sgd,100,50,70\na,adam,200,20,150\nb,adam,200,1,1\n"
    )
    table = read_device_table(path, parse_select("network=a"))
    assert [(point.limit_w, point.power_w) for point in table.points] == [(100, 80), (200, 150)]
    assert table.points[0].speed_per_s == pytest.approx(0.5 / 3600)
    assert [dict(each.select) for each in read_workloads(path, {"network": "a"})] == [
        {"network": "a", "optimizer": "adam"},
        {"network": "a", "optimizer": "sgd"},
    ]
    for text, message in (("network=c", "no row with network=c"), ("net=a", "no column 'net'"), ("x", "COLUMN=VALUE")):
        with pytest.raises(ConfigError, match=message):
            read_device_table(path, parse_select(text))


def data(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: recorded data are not part of the project")
    return path


def test_on_recorded_carbon_the_policy_reaches_most_of_the_optimum():
    trace = by_hour(read_trace(data("carbon/gb_2021.csv"))).until(hour_of(datetime(2021, 6, 1, tzinfo=UTC)))
    device = read_device_table(data("power/zeus_power_v100.csv"), {"network": "resnet50", "batch_size": "360"})
    compared = simulate(CarbonAware(), device, Job(hours=24, slack=2.0), trace, count=20, seed=0)
    assert compared.share_of_saving() > 0.85  # 20 starts of spring are noisy: the benchmark's 150 give 0.91
    assert compared.share_of_saving() > compared.share_of_saving(compared.best_static) + 0.1
    assert compared.to_json()["policy"]["missed_deadlines"] == 0
