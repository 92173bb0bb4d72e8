"""The control loop with simulated devices and time: observations, decisions and failures."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from overwinter.errors import ConfigError
from overwinter.power import Job
from overwinter.power.actuators import DeniedError
from overwinter.power.actuators.simulated import SimulatedLimit
from overwinter.power.control.asking import defect
from overwinter.power.control.loop import PowerControl
from overwinter.power.control.observing import Sources
from overwinter.power.guard.guard import Guard
from overwinter.power.interface import Decision, Observation, OperatingPoint, Series
from overwinter.power.profile import Profile, ProfileKey, save_profile
from overwinter.power.profile_store import ProfileStore

_NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class _World:
    """Time, energy and progress that a test moves by hand: 200 W without a limit, 10 units of work a second."""

    def __init__(self) -> None:
        self.now_s, self.utc = 1000.0, _NOON
        self.energies_j = {"toy": 0.0}
        self.done = 0.0

    def forward(
        self, duration_s: float, *, power_w: float = 200.0, speed: float = 10.0, wall_s: float | None = None
    ) -> None:
        self.now_s += duration_s
        self.utc += timedelta(seconds=duration_s if wall_s is None else wall_s)
        self.energies_j["toy"] += power_w * duration_s
        self.done += speed * duration_s


class _Policy:
    """Returns a given decision, and records its observations."""

    def __init__(self, *responses: Any) -> None:
        self._responses = itertools.chain(responses, itertools.repeat(responses[-1]))
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        response = next(self._responses)
        if isinstance(response, Exception):
            raise response
        return response  # type: ignore[no-any-return]


@pytest.fixture
def world() -> _World:
    return _World()


@pytest.fixture
def limit_file(tmp_path: Path, state: Path) -> Path:
    return SimulatedLimit.make(tmp_path / "devices", "toy", minimum_w=100, maximum_w=300, limit_w=280)


@pytest.fixture
def loop(
    world: _World, limit_file: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., PowerControl]:
    """Make a loop whose ticks the test takes itself."""

    def make(policy: Any, *, sources: Mapping[str, Any] | None = None, **options: Any) -> PowerControl:
        guard = Guard(SimulatedLimit(limit_file.parents[1]), warn=warnings.append)
        control = PowerControl(
            policy,
            guard,
            sources=Sources(energy_j=lambda: dict(world.energies_j), **(sources or {})),
            warn=warnings.append,
            clock=lambda: world.now_s,
            now=lambda: world.utc,
            **options,
        )
        control._devices.open()
        return control

    return make


def _limit_w(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _messages(warnings: list[str], text: str) -> list[str]:
    return [line for line in warnings if text in line]


def test_policy_sees_the_devices_and_its_limits_are_set(loop: Any, limit_file: Path, world: _World) -> None:
    policy = _Policy(Decision(limits_w={"toy": 150.0}), Decision(limits_w={"toy": None}))
    control = loop(policy)
    control.tick()
    (device,) = policy.seen[0].devices
    assert (device.name, device.min_w, device.max_w, device.previous_w, device.current_w) == (
        "toy",
        100,
        300,
        280,
        280,
    )
    assert _limit_w(limit_file) == 150
    world.forward(10)
    control.tick()
    assert policy.seen[1].devices[0].current_w == 150
    assert _limit_w(limit_file) == 280
    control.close()


def test_a_device_that_is_not_named_gets_its_previous_limit_back(loop: Any, limit_file: Path, world: _World) -> None:
    control = loop(_Policy(Decision(limits_w={"toy": 150.0}), Decision()))
    control.tick()
    world.forward(10)
    control.tick()
    assert _limit_w(limit_file) == 280
    control.close()


def test_closing_puts_the_limit_back(loop: Any, limit_file: Path) -> None:
    control = loop(_Policy(Decision(limits_w={"toy": 150.0})))
    control.tick()
    control.close()
    assert _limit_w(limit_file) == 280
    assert control.close() == control.record()


def test_decides_at_its_interval_and_when_the_policy_asks_for_it(loop: Any, world: _World) -> None:
    policy = _Policy(Decision(), Decision(review_s=3.0), Decision(review_s=1000.0))
    control = loop(policy, interval_s=10)
    counts = []
    for _ in range(27):
        control.tick()
        counts.append(len(policy.seen))
        world.forward(1)
    assert [counts[second] for second in (0, 9, 10, 12, 13, 22, 23)] == [1, 1, 2, 2, 3, 3, 4]
    control.close()


def test_policy_sees_power_speed_and_points_per_limit(loop: Any, world: _World) -> None:
    policy = _Policy(Decision(limits_w={"toy": 150.0}), Decision(limits_w={"toy": 200.0}))
    control = loop(policy, interval_s=10)
    for second in range(31):
        control.tick()
        control._progress = (world.done, 10_000)
        slow = second < 10
        world.forward(1, power_w=140 if slow else 190, speed=8 if slow else 10)
    last = policy.seen[-1]
    assert last.power_w == pytest.approx(190)
    assert last.speed_per_s == pytest.approx(10)
    assert last.work_total == 10_000
    assert [point.limit_w for point in last.points] == [150, 200]
    assert last.points[0].power_w == pytest.approx(140)
    assert last.points[1].speed_per_s == pytest.approx(10)
    control.close()


def test_everything_that_is_known_reaches_the_policy(loop: Any, world: _World) -> None:
    forecast = Series(start_utc=_NOON, step_s=3600, values=(300.0, 200.0))
    job = Job(deadline_utc=_NOON + timedelta(hours=5), pause_w=25, resume_s=30)
    policy = _Policy(Decision())
    sources = {
        "intensity_g_per_kwh": lambda at: 300.0,
        "intensity_forecast": lambda at: forecast,
        "price_per_kwh": lambda at: -0.05,
        "price_forecast": lambda at: None,
        "remaining": lambda: (5000.0, None),
    }
    control = loop(policy, sources=sources, job=job)
    control.tick()
    seen = policy.seen[0]
    assert (seen.time_utc, seen.deadline_utc) == (_NOON, job.deadline_utc)
    assert (seen.intensity_g_per_kwh, seen.intensity_forecast) == (300.0, forecast)
    assert (seen.price_per_kwh, seen.remaining_energy_j, seen.remaining_carbon_g) == (-0.05, 5000.0, None)
    assert (seen.pause_w, seen.resume_s) == (25, 30)
    control.close()


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (RuntimeError("the model is not trained"), "the model is not trained"),
        (None, "NoneType instead of a Decision"),
        (Decision(limits_w={"toy": math.nan}), "toy=nan"),
        (Decision(limits_w={"toy": -5.0}), "toy=-5"),
        (Decision(limits_w={"toy": "150 W"}), "150 W"),  # type: ignore[dict-item]
        (Decision(limits_w={"toy": True}), "toy=True"),
        (Decision(limits_w={"gpu:7": 200.0}), "unknown device 'gpu:7'"),
        (Decision(limits_w=None), "TypeError"),  # type: ignore[arg-type]
        (Decision(pause="yes"), "pause='yes'"),  # type: ignore[arg-type]
        (Decision(review_s=math.inf), "review_s=inf"),
        (Decision(limits_w={"toy": 1000.0}), "supports no limit of 1000"),
        (Decision(limits_w={"toy": 1.0}), "its range is 100 to 300"),
    ],
)
def test_a_policy_that_fails_is_reported_once_and_the_previous_limit_holds(
    loop: Any, limit_file: Path, world: _World, warnings: list[str], response: Any, reason: str
) -> None:
    control = loop(_Policy(Decision(limits_w={"toy": 150.0}), response))
    for _ in range(4):
        control.tick()
        world.forward(10)
    assert _limit_w(limit_file) == 280
    assert control.pause is None
    assert len(_messages(warnings, reason)) == 1
    control.close()


@pytest.mark.parametrize("value", [math.nan, -3.0, math.inf])
def test_an_invalid_intensity_counts_as_unknown(loop: Any, world: _World, warnings: list[str], value: float) -> None:
    policy = _Policy(Decision())
    control = loop(policy, sources={"intensity_g_per_kwh": lambda at: value})
    for _ in range(3):
        control.tick()
        world.forward(10)
    assert policy.seen[-1].intensity_g_per_kwh is None
    assert len(_messages(warnings, "is invalid")) == 1
    control.close()


def test_negative_forecast_values_count_as_unknown_and_are_reported_once(
    loop: Any, world: _World, warnings: list[str]
) -> None:
    reported = itertools.count(-9.0)
    policy = _Policy(Decision())
    ahead = {"intensity_forecast": lambda at: Series(start_utc=at, step_s=3600, values=(300.0, next(reported), 0.0))}
    control = loop(policy, sources=ahead)
    for _ in range(3):
        control.tick()
        world.forward(10)
    seen = policy.seen[-1].intensity_forecast
    assert seen is not None
    assert (seen.values[0], math.isnan(seen.values[1]), seen.values[2]) == (300, True, 0)
    assert len(_messages(warnings, "forecast of the carbon intensity of -9.0 is invalid")) == 1
    assert len(_messages(warnings, "is invalid")) == 1
    control.close()


def test_a_source_that_returns_no_number_counts_as_unknown(loop: Any, warnings: list[str]) -> None:
    policy = _Policy(Decision())
    loop(policy, sources={"intensity_g_per_kwh": lambda at: "high", "price_per_kwh": lambda at: math.nan}).tick()
    assert (policy.seen[0].intensity_g_per_kwh, policy.seen[0].price_per_kwh) == (None, None)
    assert len(_messages(warnings, "is invalid")) == 2


def test_an_intensity_of_zero_is_an_intensity(loop: Any, warnings: list[str]) -> None:
    policy = _Policy(Decision())
    loop(policy, sources={"intensity_g_per_kwh": lambda at: 0.0}).tick()
    assert policy.seen[0].intensity_g_per_kwh == 0
    assert _messages(warnings, "intensity") == []


def test_a_source_that_raises_counts_as_not_known(loop: Any, world: _World, warnings: list[str]) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no route to host")

    policy = _Policy(Decision(limits_w={"toy": 150.0}))
    names = ("intensity_g_per_kwh", "intensity_forecast", "price_per_kwh", "price_forecast", "remaining")
    control = loop(policy, sources=dict.fromkeys(names, broken))
    for _ in range(3):
        control.tick()
        world.forward(10)
    assert policy.seen[-1].intensity_g_per_kwh is None
    assert policy.seen[-1].remaining_energy_j is None
    assert len(_messages(warnings, "no route to host")) == 5
    control.close()


@pytest.mark.parametrize("leap_s", [7200.0, -7200.0])
def test_a_clock_that_jumps_changes_nothing_until_the_next_decision(
    loop: Any, limit_file: Path, world: _World, warnings: list[str], leap_s: float
) -> None:
    policy = _Policy(Decision(limits_w={"toy": 150.0}), Decision(limits_w={"toy": 250.0}))
    control = loop(policy)
    control.tick()
    world.forward(10, wall_s=leap_s)
    control.tick()
    assert len(policy.seen) == 1
    assert _limit_w(limit_file) == 150
    assert len(_messages(warnings, "the clock jumped")) == 1
    world.forward(10)
    control.tick()
    assert _limit_w(limit_file) == 250
    control.close()


def test_a_lost_device_is_ignored(loop: Any, limit_file: Path, world: _World, warnings: list[str]) -> None:
    policy = _Policy(Decision(limits_w={"toy": 150.0}), Decision())
    control = loop(policy)
    control.tick()
    moved = limit_file.parent.rename(limit_file.parents[2] / "gone")
    for _ in range(3):
        world.forward(10)
        control.tick()
    assert policy.seen[-1].devices == ()
    assert len(_messages(warnings, "ignored")) == 1
    moved.rename(limit_file.parent)
    control.close()
    assert _limit_w(limit_file) == 280


def test_pause_is_reported_until_the_policy_takes_it_back(loop: Any, world: _World) -> None:
    control = loop(_Policy(Decision(), Decision(pause=True, reason="dirty"), Decision(pause=True), Decision()))
    pauses = []
    for _ in range(4):
        control.tick()
        pauses.append(control.pause)
        world.forward(10)
    assert pauses[0] is None
    assert pauses[1] is not None
    assert (pauses[1].reason, pauses[1].since_utc) == ("dirty", _NOON + timedelta(seconds=10))
    assert pauses[2] == pauses[1]
    assert pauses[3] is None
    control.close()


def test_cap_that_binds_and_cap_that_does_not(loop: Any, limit_file: Path, world: _World) -> None:
    control = loop(_Policy(Decision(limits_w={"toy": 200.0})), interval_s=1000)
    assert control.record().cap_bound_fraction is None
    control.tick()
    for _ in range(6):
        world.forward(1, power_w=198)
        control.tick()
    for _ in range(2):
        world.forward(1, power_w=120)
        control.tick()
    assert control.close().cap_bound_fraction == pytest.approx(6 / 8)


@pytest.mark.parametrize(("power_w", "expected"), [(120, 1), (199, 0)])
def test_cap_that_hardly_ever_binds_is_reported(
    loop: Any, world: _World, warnings: list[str], power_w: float, expected: int
) -> None:
    control = loop(_Policy(Decision(limits_w={"toy": 200.0})), interval_s=1000)
    for _ in range(40):
        control.tick()
        world.forward(1, power_w=power_w)
    record = control.close()
    assert len(_messages(warnings, "draws less than the limit")) == expected
    assert len([line for line in record.warnings if "draws less" in line]) == expected


def _without_right(limit_file: Path) -> None:
    (limit_file.parent / "denied").touch()


def test_without_the_right_the_work_fails_at_its_start(loop: Any, limit_file: Path, warnings: list[str]) -> None:
    _without_right(limit_file)

    def fail(error: DeniedError) -> None:
        raise error

    guard = Guard(SimulatedLimit(limit_file.parents[1]), warn=warnings.append)
    control = PowerControl(
        _Policy(Decision(limits_w={"toy": 150.0})),
        guard,
        sources=Sources(energy_j=dict),
        warn=warnings.append,
        on_denied=fail,
    )
    with pytest.raises(ConfigError, match="may not change it"):
        control.start()
    assert _limit_w(limit_file) == 280


def test_without_the_right_the_work_goes_on_where_that_is_wanted(
    loop: Any, limit_file: Path, world: _World, warnings: list[str]
) -> None:
    _without_right(limit_file)
    policy = _Policy(Decision(limits_w={"toy": 150.0}))
    control = loop(policy, on_denied=lambda error: None)
    for _ in range(3):
        control.tick()
        world.forward(10)
    control.step(1, 10)
    assert len(_messages(warnings, "may not change it")) == 1
    assert policy.seen[-1].devices == ()
    assert control.close().actuator is None


def test_thread_decides_before_the_work_begins_and_costs_next_to_nothing(limit_file: Path, warnings: list[str]) -> None:
    energies = itertools.count(step=50.0)
    control = PowerControl(
        _Policy(Decision(limits_w={"toy": 150.0})),
        Guard(SimulatedLimit(limit_file.parents[1]), warn=warnings.append),
        sources=Sources(energy_j=lambda: {"toy": next(energies)}),
        warn=warnings.append,
        interval_s=0.4,
    )
    began_s = time.monotonic()
    with control:
        assert _limit_w(limit_file) == 150
        start_cpu_s = control.record().cpu_s
        while time.monotonic() - began_s < 1.5:
            control.step(1, 2)
            time.sleep(0.05)
    record = control.record()
    assert record.decisions >= 3
    assert record.cpu_s - start_cpu_s < 0.002 * 1.5 * 5  # benchmarks/power_guard.py holds it to 0.2 %
    assert _limit_w(limit_file) == 280


def test_a_policy_that_hangs_holds_up_neither_start_nor_end(
    limit_file: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, ended = threading.Event(), threading.Event()

    class Hanging:
        def decide(self, observation: Observation) -> Decision:
            goes_on.wait(60)
            ended.set()
            return Decision(limits_w={"toy": 150.0})

    monkeypatch.setattr("overwinter.power.control.loop._FIRST_S", 0.2)
    guard = Guard(SimulatedLimit(limit_file.parents[1]), warn=warnings.append)
    with PowerControl(Hanging(), guard, sources=Sources(energy_j=dict), warn=warnings.append) as control:
        assert not ended.is_set()
    assert not ended.is_set()
    goes_on.set()
    control._thread.join(10)
    assert ended.is_set()
    assert _limit_w(limit_file) == 280  # a late decision is not applied
    assert control.record().decisions == 0


def test_a_valid_decision_has_no_defect() -> None:
    assert defect(Decision(limits_w={"a": 5, "b": None}, clock_mhz=1200, review_s=1), {"a", "b", "c"}) == ""


def _to(limit_w: float, *, settled: bool = False) -> Decision:
    return Decision(limits_w={"toy": limit_w}, settled=settled)


def test_a_profile_is_kept_once_the_policy_has_settled_and_feeds_the_next_run(
    loop: Any, world: _World, limit_file: Path, tmp_path: Path
) -> None:
    place = tmp_path / "profiles" / "train.json"

    def run(*responses: Decision) -> None:
        control = loop(_Policy(*responses), profiles=ProfileStore(place, workload="w", writes=True))
        control.tick()
        for _ in range(10 * len(responses) + 5):
            free = _limit_w(limit_file) >= 200
            world.forward(1, power_w=200 if free else 150, speed=10 if free else 7)
            control.step(world.done, 1000)
            control.tick()
        control.close()

    run(_to(280.0), _to(150.0))
    assert not place.exists()  # the search is not settled
    run(_to(280.0), _to(150.0), _to(150.0, settled=True))
    policy = _Policy(_to(150.0))
    loop(policy, profiles=ProfileStore(place, workload="w", writes=False)).tick()
    points = {point.limit_w: (point.power_w, point.speed_per_s) for point in policy.seen[0].points}
    assert points == {150: pytest.approx((150, 7)), 280: pytest.approx((200, 10))}


def test_a_profile_of_something_else_ends_the_work_at_its_start_and_lets_the_device_go(
    limit_file: Path, tmp_path: Path, warnings: list[str]
) -> None:
    place = tmp_path / "train.json"
    point = OperatingPoint(limit_w=150, power_w=140, speed_per_s=7)
    save_profile(place, Profile(key=ProfileKey(device_model="x", driver="y", workload="w"), points=(point,)))

    def control() -> PowerControl:
        guard = Guard(SimulatedLimit(limit_file.parents[1]), warn=warnings.append)
        sources = Sources(energy_j=lambda: {"toy": 0.0})
        store = ProfileStore(place, workload="w", writes=True)
        return PowerControl(_Policy(_to(150.0)), guard, sources=sources, warn=warnings.append, profiles=store)

    for _ in range(2):  # the second is not reported that the first still holds the device
        with pytest.raises(ConfigError, match="was measured for device model 'x'"):
            control().start()
    assert _limit_w(limit_file) == 280


def test_work_tries_the_limits_that_the_policy_wants_while_the_loop_waits(
    loop: Any, limit_file: Path, world: _World
) -> None:
    policy = _Policy(Decision(), Decision(limits_w={"toy": 150.0}), Decision(limits_w={"toy": 200.0}))
    control = loop(policy)
    control.tick()
    points = [OperatingPoint(limit_w=150, power_w=140, speed_per_s=9)]
    with control.trials():
        assert control.try_limit([]) == 150
        world.forward(100)
        control.tick()
        assert (len(policy.seen), _limit_w(limit_file)) == (2, 150)
        assert control.drawn_j() == world.energies_j["toy"]
        assert control.try_limit(points) == 200
        assert policy.seen[-1].points == tuple(points)
        control.add_points(points)
    control.tick()
    assert len(policy.seen) == 4
    assert policy.seen[-1].points == tuple(points)  # and nothing of what ran meanwhile
    control.close()
    assert _limit_w(limit_file) == 280


def test_the_previous_limit_is_back_after_trials_that_fail(loop: Any, limit_file: Path) -> None:
    def fails() -> None:
        with contextlib.closing(loop(_Policy(Decision(limits_w={"toy": 150.0})))) as control, control.trials():
            assert control.try_limit([]) == 150
            raise OSError("out of memory")

    with pytest.raises(OSError, match="out of memory"):
        fails()
    assert _limit_w(limit_file) == 280


def test_without_a_device_to_limit_there_is_no_limit_to_try(world: _World) -> None:
    sources = Sources(energy_j=lambda: dict(world.energies_j))
    control = PowerControl(_Policy(Decision()), None, sources=sources, warn=print)
    with control.trials():
        assert control.try_limit([]) is None
    assert control.drawn_j() == 0.0
