"""Seconds, joules and what is claimed of them."""

from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from overwinter.serving.metrics import Metrics, ModelMetrics

WATTS = {
    "ready_w": 100.0,
    "parked_w": 90.0,
    "preforked_w": 80.0,
    "off_w": 70.0,
    "responding_w": 40.0,
    "parked_wake_j": 5.0,
    "preforked_wake_j": 50.0,
    "off_wake_j": 400.0,
    "uncertainty_w": 2.0,
    "wake_uncertainty_j": 30.0,
}


@pytest.fixture
def clock():
    return SimpleNamespace(now_s=0.0)


def model_metrics(clock, *, source="a meter"):
    metrics = Metrics()
    made = ModelMetrics(
        "m",
        power_draw=SimpleNamespace(source=source, **WATTS),
        metrics=metrics,
        log=lambda *_, **__: None,
        now_s=lambda: clock.now_s,
    )
    return made, metrics


def spend(made, clock, *states):
    for state, seconds in states:
        made.entered("first", state, reason="test")
        clock.now_s += seconds


def test_every_second_is_counted_once_and_has_its_joules(clock):
    made, _ = model_metrics(clock)
    spend(made, clock, ("off", 10), ("waking", 1), ("ready", 5), ("off", 4))
    assert made.seconds() == {"ready": 5, "waking": 1, "parked": 0, "preforked": 0, "off": 14}
    assert made.joules()["off"] == 14 * 70
    assert sum(made.seconds().values()) == clock.now_s


def test_a_replica_that_left_costs_no_more(clock):
    made, _ = model_metrics(clock)
    spend(made, clock, ("ready", 3))
    made.left("first")
    clock.now_s += 100
    assert made.seconds()["ready"] == 3


def test_the_saving_is_against_staying_ready_and_has_an_uncertainty(clock):
    made, _ = model_metrics(clock)
    spend(made, clock, ("off", 30), ("waking", 4), ("ready", 1000), ("off", 10), ("waking", 4), ("ready", 1))
    saved_j, uncertainty_j = made.saved_j()
    assert saved_j == 48 * 30 - 2 * 400
    # The watts of `ready` count for 48 s, and so do those of `off`; both wakes are off by the same.
    assert uncertainty_j == pytest.approx(((2 * 48) ** 2 + (2 * 48) ** 2 + 60**2) ** 0.5)


@pytest.mark.parametrize("took_s", [1, 60])
def test_a_wake_costs_what_it_was_measured_to_cost_however_long_it_takes(clock, took_s):
    made, _ = model_metrics(clock)
    spend(made, clock, ("off", 1), ("waking", took_s), ("ready", 1), ("parked", 1), ("waking", took_s), ("ready", 1))
    assert made.joules()["waking"] - 2 * took_s * 70 == 400 + 5


@pytest.mark.parametrize(
    ("states", "switches_j"),
    [
        (("ready", "waking", "preforked"), 350),
        (("ready", "waking", "off"), 350),
        (("preforked", "waking", "ready"), 50),
        (("off", "waking", "off", "waking", "off"), 800),
        (("off", "waking"), 0),
    ],
)
def test_a_start_and_a_failed_wake_cost_too(clock, states, switches_j):
    made, _ = model_metrics(clock)
    spend(made, clock, *((state, 1) for state in states))
    assert made.joules()["waking"] - 70 * made.seconds()["waking"] == switches_j


def test_no_saving_is_claimed_where_nothing_was_measured(clock):
    made, metrics = model_metrics(clock, source=None)
    spend(made, clock, ("off", 30))
    assert made.saved_j() is None
    assert 'basis="guessed"' in generate_latest(metrics.registry).decode()


def test_joules_from_modelled_draws_are_not_called_measured(clock):
    made, metrics = model_metrics(clock, source="modelled, nvml-counter; 20 s at each sleep level")
    spend(made, clock, ("off", 30))
    assert 'basis="modelled"' in generate_latest(metrics.registry).decode()


def test_a_metric_of_several_models_is_described_once(clock):
    made, metrics = model_metrics(clock)
    draw = SimpleNamespace(source="a meter", **WATTS)
    other = ModelMetrics("n", power_draw=draw, metrics=metrics, log=lambda *_, **__: None, now_s=lambda: clock.now_s)
    for each in (made, other):
        spend(each, clock, ("ready", 3))
    lines = generate_latest(metrics.registry).decode().splitlines()
    described = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert sorted(described) == sorted(set(described))
    assert {line.split("{")[1] for line in lines if line.startswith("overwinter_saved_joules{")} == {
        'model="m"} 0.0',
        'model="n"} 0.0',
    }


def test_metrics_say_state_wakes_and_reasons(clock):
    made, metrics = model_metrics(clock)
    spend(made, clock, ("off", 2), ("ready", 1))
    made.woke("off", 0.25, steps_s={"load": 0.05})
    made.answered(200, within_s=0.5)
    made.entered("first", "off", reason="crash")
    lines = generate_latest(metrics.registry).decode().splitlines()
    for line in (
        'overwinter_requests_total{model="m",status="200"} 1.0',
        'overwinter_wake_seconds_sum{level="off",model="m",step="all"} 0.25',
        'overwinter_wake_seconds_sum{level="off",model="m",step="load"} 0.05',
        'overwinter_transitions_total{from="ready",model="m",reason="crash",to="off"} 1.0',
        'overwinter_worker_crashes_total{model="m"} 1.0',
        'overwinter_energy_joules_total{basis="measured",model="m",state="ready"} 100.0',
        'overwinter_state_seconds_total{model="m",state="off"} 2.0',
        'overwinter_replicas{model="m",state="off"} 1.0',
    ):
        assert line in lines
