"""Windows, suspension and failures, with any source."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overwinter.energy import open_meter
from overwinter.energy.channel import Channel
from overwinter.energy.clocks import SuspendWatch
from overwinter.energy.protocols import Increment
from overwinter.errors import ConfigError


class Steady:
    """A gauge of constant power, which fails from a given reading on."""

    relative_uncertainty = 0.1
    edge_s = 0.0
    max_interval_s = float("inf")

    def __init__(self, power_w: float, *, source: str = "rapl", fails_after: int = 10**9) -> None:
        self.source, self._power_w, self._left = source, power_w, fails_after
        self._now_s = 0.0

    def start(self, now_s: float) -> None:
        self._now_s = now_s

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        self._left -= 1
        if self._left < 0:
            raise ZeroDivisionError
        elapsed_s, self._now_s = now_s - self._now_s, now_s
        return Increment(energy_uj=round(self._power_w * elapsed_s * 1e6))

    def power_w(self) -> float | None:
        return None

    def limit_w(self) -> float | None:
        return None


def channel(*gauges: Any, device: str = "cpu", guess_w: float = 7.0) -> Channel:
    return Channel(
        device=device,
        gauges=gauges,
        guess_w=guess_w,
        held_uncertainty=0.4,
        warn=lambda text: None,
        never_still=False,
    )


def test_windows_nest_overlap_and_can_be_read_in_the_middle(hand_driven: Any, clock: Any) -> None:
    meter = hand_driven([channel(Steady(100.0))]).start()
    outer = meter.window("outer")
    clock.forward(1)
    inner = meter.window("inner")
    clock.forward(2)
    assert outer.read().energy_j == pytest.approx(300)
    assert inner.close().energy_j == pytest.approx(200)
    overlapping = meter.window("overlapping")
    clock.forward(3)
    assert outer.close().energy_j == pytest.approx(600)
    clock.forward(4)
    assert overlapping.close().energy_j == pytest.approx(700)
    assert inner.close().energy_j == pytest.approx(200)  # closed stays closed
    assert meter.close().energy_j == pytest.approx(1000)
    clock.forward(5)
    assert meter.read().energy_j == pytest.approx(1000)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.floats(0.0, 100.0), st.sampled_from(["window", "tick", "read"])), max_size=30))
def test_adjacent_windows_add_up_to_the_whole(hand_driven: Any, clock: Any, steps: list[tuple[float, str]]) -> None:
    meter = hand_driven([channel(Steady(33.3)), channel(Steady(4.4, source="modelled"), device="ram")]).start()
    window, parts_j = meter.window("first"), 0.0
    for seconds, what in steps:
        clock.forward(seconds)
        if what == "tick":
            meter.tick()
        elif what == "read":
            window.read()
        else:
            parts_j += window.close().energy_j
            window = meter.window("next")
    parts_j += window.close().energy_j
    assert parts_j == pytest.approx(meter.close().energy_j, abs=1e-6)


def test_a_failing_gauge_hands_over_without_a_gap(hand_driven: Any, clock: Any) -> None:
    meter = hand_driven([channel(Steady(100.0, fails_after=5), Steady(90.0, source="nvml-power"))]).start()
    for _ in range(10):
        clock.forward(1)
        meter.tick()
    report = meter.close()
    assert {part.source: part.energy_j for part in report.components} == pytest.approx({"rapl": 500, "nvml-power": 450})


def test_failing_from_the_start_falls_to_the_guess(hand_driven: Any, clock: Any) -> None:
    meter = hand_driven([channel(Steady(100.0, fails_after=0), guess_w=7.0)]).start()
    clock.forward(10)
    report = meter.close()
    assert report.energy_j == pytest.approx(70)
    assert report.measured_fraction == 0


def test_peaks_belong_to_the_window_they_fell_in(hand_driven: Any, clock: Any) -> None:
    gauge = Steady(10.0)
    meter = hand_driven([channel(gauge)]).start()
    before = meter.window("before")
    clock.forward(1)
    meter.tick()
    before.close()
    during = meter.window("during")
    gauge._power_w = 500.0
    clock.forward(1)
    meter.tick()
    gauge._power_w = 10.0
    clock.forward(9)
    meter.tick()
    assert before.close().components[0].peak_w == pytest.approx(10)
    assert during.close().components[0].peak_w == pytest.approx(500)


def test_a_suspended_machine_is_noticed(hand_driven: Any, clock: Any) -> None:
    suspended_s = [5.0]
    meter = hand_driven([channel(Steady(10.0))], watch=SuspendWatch(lambda: suspended_s[0])).start()
    clock.forward(1)
    meter.tick()
    assert not meter.read().warnings
    suspended_s[0] += 3600
    clock.forward(1)
    meter.tick()
    report = meter.close()
    assert report.duration_s == pytest.approx(2)
    assert any("suspended for 3600 s" in text for text in report.warnings)


def test_a_window_carries_only_warnings_of_its_time(hand_driven: Any, clock: Any) -> None:
    meter = hand_driven([channel(Steady(10.0))]).start()
    clock.forward(1)
    meter._notices.add("early trouble")
    clock.forward(1)
    window = meter.window("later")
    clock.forward(1)
    assert window.close().warnings == ()
    assert meter.read().warnings == ("early trouble",)


def test_windows_from_many_threads(energy_config: Any, hardware_config: Any) -> None:
    energy_config.sample_interval_s = 0.01
    failures: list[BaseException] = []

    def work(meter: Any) -> None:
        try:
            for _ in range(30):
                with meter.window("mine") as window:
                    window.read()
                assert window.close().energy_j >= 0
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test must see it
            failures.append(error)

    with open_meter(energy_config, hardware_config) as meter:
        threads = [threading.Thread(target=work, args=(meter,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_one_sampler_thread_and_none_after_closing(energy_config: Any, hardware_config: Any) -> None:
    before = threading.active_count()
    with open_meter(energy_config, hardware_config):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_other_ranks_count_nothing_and_say_so(
    energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    with open_meter(energy_config, hardware_config) as meter:
        report = meter.window("w").close()
    assert report.energy_j == 0
    assert report.components == ()
    assert "local rank 0 meters for this node" in report.warnings[0]


def test_nothing_to_read_is_refused_before_the_work(energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources = ["rapl"]
    with pytest.raises(ConfigError, match="none of these works on this machine"):
        open_meter(energy_config, hardware_config)


def test_an_unknown_source_names_the_nearest(energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources = ["modeled"]
    with pytest.raises(ConfigError, match="Did you mean 'modelled'"):
        open_meter(energy_config, hardware_config)


def test_a_source_that_cannot_be_opened_leaves_its_part_to_the_next(
    energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(opening: Any) -> list[Channel]:
        raise RuntimeError("sensor on fire")

    monkeypatch.setattr("overwinter.energy.rapl.open_rapl", broken)
    with open_meter(energy_config, hardware_config) as meter:
        report = meter.read()
    assert [part.device for part in report.components] == ["cpu", "ram"]
    assert any("sensor on fire" in text for text in report.warnings)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=20))
def test_a_pause_counts_neither_as_time_nor_as_energy(
    hand_driven: Any, clock: Any, spans: list[tuple[float, bool]]
) -> None:
    meter = hand_driven([channel(Steady(30.0)), channel(Steady(4.0, source="modelled"), device="ram")], head_s=2.0)
    meter.start()
    inner, worked_s = meter.window("inner"), 0.0
    for seconds, paused in spans:
        if paused:
            before = inner.read()
            with meter.paused():
                clock.forward(seconds)
                meter.tick()
                assert inner.read() == before
            assert inner.read().energy_j == pytest.approx(before.energy_j)
        else:
            clock.forward(seconds)
            meter.tick()
            worked_s += seconds
    assert inner.close().duration_s == pytest.approx(worked_s, abs=1e-6)
    assert inner.close().energy_j == pytest.approx(34.0 * worked_s, abs=1e-3)
    assert meter.close().duration_s == pytest.approx(worked_s + 2.0, abs=1e-6)
    assert meter.close().energy_j == pytest.approx(34.0 * worked_s, abs=1e-3)


def test_power_over_time_has_a_gap_where_the_meter_was_paused(hand_driven: Any, clock: Any) -> None:
    gauge = Steady(30.0)
    meter = hand_driven([channel(gauge)]).start()
    clock.forward(1)
    meter.tick()
    with meter.paused():
        gauge._power_w = 500.0  # another run's measurement
        clock.forward(10)
        meter.tick()
    gauge._power_w = 30.0
    meter.tick()
    clock.forward(1)
    meter.tick()
    assert [sample.time_s for sample in meter.samples] == pytest.approx([1.0, 12.0])
    assert meter.close().components[0].peak_w < 60.0
