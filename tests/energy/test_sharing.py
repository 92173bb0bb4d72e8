"""Meters that read one counter at the same time claim together what it shows, and each all of it while it is alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overwinter.energy import proc
from overwinter.energy.channel import Channel
from overwinter.energy.protocols import Increment
from overwinter.energy.sharing import Sharing
from overwinter.energy.split import Use

STEP_S = 0.1
PACE_S = 1.0
IDLE = 0.3


@dataclass
class World:
    """One counter, and who uses what it counts."""

    clock: Any
    drawn_j: float = 0.0
    used_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(range(3), 0.0))
    metering: set[int] = field(default_factory=set)

    def forward(self, power_w: float, uses: Mapping[int, float]) -> None:
        self.drawn_j += power_w * STEP_S
        for who, use in uses.items():
            self.used_s[who] += use * STEP_S
        self.clock.forward(STEP_S)


class Gauge:
    """Reads the world's counter."""

    source, relative_uncertainty, edge_s, max_interval_s = "rapl", 0.15, 0.0, float("inf")

    def __init__(self, world: World) -> None:
        self._world, self._reported_j = world, 0.0

    def start(self, now_s: float) -> None:
        self._reported_j = self._world.drawn_j

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        before_j, self._reported_j = self._reported_j, self._world.drawn_j
        return Increment(energy_uj=round((self._reported_j - before_j) * 1e6))

    def power_w(self) -> None:
        return None

    def limit_w(self) -> None:
        return None


class Others:
    """Stands for `Neighbours`: the other meters of the world."""

    def __init__(self, world: World, who: int) -> None:
        self._world, self._who = world, who

    def begin(self) -> None:
        self._world.metering.add(self._who)

    def look(self) -> Mapping[str, frozenset[int]]:
        others = frozenset(self._world.metering - {self._who})
        return {"package": others} if others else {}

    def close(self) -> None:
        self._world.metering.discard(self._who)


class Split:
    """Reports the world's use, or nothing while there is trouble."""

    by, idle_fraction = "use", IDLE

    def __init__(self, world: World, who: int) -> None:
        self._world, self._who, self.trouble = world, who, ""
        self._since = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        self.use()

    def use(self) -> Use | None:
        now = (self._world.clock(), self._world.used_s[self._who], sum(self._world.used_s.values()))
        elapsed_s, own_s, busy_s = (after - before for after, before in zip(now, self._since, strict=True))
        self._since = now
        if self.trouble:
            return None
        return Use(own=own_s / elapsed_s, busy=busy_s / elapsed_s) if elapsed_s else Use(own=0.0, busy=0.0)


class Tree:
    """Stands for `CpuTime`."""

    begun = 0

    def begin(self) -> None:
        self.begun += 1

    def walk(self) -> None: ...

    def close(self) -> None:
        self.begun -= 1


@pytest.fixture
def meter_of(hand_driven: Any, clock: Any) -> Callable[[World, int], Any]:
    """Build the meter of one of the world's runs."""

    def build(world: World, who: int, **more: Any) -> Any:
        message: list[str] = []
        channel = Channel(
            device="cpu:package-0",
            gauges=[Gauge(world)],
            guess_w=1.0,
            held_uncertainty=0.4,
            warn=message.append,
            counter="package",
        )
        split, tree = Split(world, who), Tree()
        splits = more.pop("splits", {"cpu:package-0": split})
        sharing = Sharing([channel], Others(world, who), splits=splits, tree=tree, warn=message.append)  # type: ignore[arg-type]
        meter = hand_driven([channel], sharing=sharing, **more)
        meter.message, meter.split, meter.channel, meter.sharing, meter.tree = message, split, channel, sharing, tree
        return meter

    return build


def play(world: World, meters: list[Any], seconds: float, power_w: float, uses: Mapping[int, float]) -> None:
    for _ in range(round(seconds / STEP_S)):
        world.forward(power_w, uses)
        for meter in meters:
            meter.tick()


def by_source(report: Any) -> dict[str, float]:
    return {part.source: part.energy_j for part in report.components}


SEGMENTS = st.lists(
    st.tuples(
        st.floats(1.0, 6.0),
        st.floats(20.0, 200.0),
        st.sets(st.integers(0, 2), max_size=3),
        st.lists(st.floats(0.0, 0.33), min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=SEGMENTS)
def test_claims_add_up_whatever_the_overlaps(clock: Any, meter_of: Any, segments: Any) -> None:
    """In each segment some of three runs are metered; those that are not use nothing."""
    world = World(clock)
    running: dict[int, Any] = {}
    ended: list[tuple[int, Any]] = []
    own_j, parts_j = dict.fromkeys(range(3), 0.0), dict.fromkeys(range(3), 0.0)
    drawn_j = unsure_j = 0.0
    for seconds, power_w, wanted, uses in segments:
        ended += [(who, running.pop(who).close()) for who in sorted(running.keys() - wanted)]
        for who in sorted(wanted - running.keys()):
            running[who] = meter_of(world, who).start()
        used = {who: uses[who] for who in wanted}
        play(world, list(running.values()), seconds, power_w, used)
        energy_j = power_w * round(seconds / STEP_S) * STEP_S
        drawn_j += energy_j if wanted else 0.0
        unsure_j += 200.0 * PACE_S  # what waits when all changes goes by the use before and after
        for who in wanted:
            if len(wanted) == 1:
                own_j[who] += energy_j
            else:
                use = Use(own=used[who], busy=sum(used.values()))
                parts_j[who] += energy_j * use.part(meters=len(wanted), idle_fraction=IDLE)
    ended += [(who, meter.close()) for who, meter in running.items()]
    assert sum(report.energy_j for _, report in ended) == pytest.approx(drawn_j, abs=unsure_j / 4)
    for who in range(3):
        reported = [by_source(report) for each, report in ended if each == who]
        modelled_j = sum(each.get("modelled", 0.0) for each in reported)
        assert sum(each.get("rapl", 0.0) for each in reported) == pytest.approx(own_j[who], abs=unsure_j / 4)
        assert modelled_j == pytest.approx(parts_j[who], abs=unsure_j / 2)
    assert world.metering == set()


def test_only_the_overlap_is_divided(clock: Any, meter_of: Any) -> None:
    world = World(clock)
    one = meter_of(world, 0).start()
    before = one.window("before")
    play(world, [one], 2.0, 100.0, {0: 0.3})
    before.close()
    two = meter_of(world, 1).start()
    during = one.window("during")
    play(world, [one, two], 4.0, 100.0, {0: 0.3, 1: 0.1})
    during.close()
    report = two.close()
    one.tick()
    after = one.window("after")
    play(world, [one], 3.0, 100.0, {0: 0.3})
    after.close()
    assert by_source(before.close()) == pytest.approx({"rapl": 200})
    assert before.close().warnings == ()
    assert before.close().measured_fraction == 1.0
    part = Use(own=0.3, busy=0.4).part(meters=2, idle_fraction=IDLE)
    assert by_source(during.close()) == pytest.approx({"rapl": 0, "modelled": 400 * part})
    assert during.close().measured_fraction == 0.0
    assert during.close().uncertainty_j == pytest.approx(0.4 * 400 * part)
    assert by_source(report)["modelled"] == pytest.approx(400 * (1 - part))
    assert after.close().energy_j == pytest.approx(300)
    assert after.close().components[0].source == "rapl"
    assert after.close().measured_fraction == 1.0
    whole = one.close()
    assert whole.measured_fraction == pytest.approx(500 / (500 + 400 * part))
    assert one.tree.begun == two.tree.begun == 0
    assert "process 1 meters it at the same time" in one.message[0]
    assert "divided by use" in one.message[0]
    assert one.sharing.last_word().endswith(f"this run counts {part:.0%} of what cpu:package-0 drew")


def test_samples_tell_what_the_device_draws(clock: Any, meter_of: Any) -> None:
    world = World(clock)
    meters = [meter_of(world, who).start() for who in range(2)]
    play(world, meters, 2.0, 100.0, {0: 0.1, 1: 0.1})
    for meter in meters:
        assert [sample.power_w for sample in meter.samples] == pytest.approx([100.0] * 20)
        assert meter.close().components[0].peak_w == pytest.approx(100)


def test_what_no_one_can_divide_is_claimed_whole_and_doubted(clock: Any, meter_of: Any) -> None:
    world = World(clock)
    one, two = (meter_of(world, who).start() for who in range(2))
    one.split.trouble = "no telling"
    window = one.window("whole")
    play(world, [one, two], 2.0, 100.0, {0: 0.1, 1: 0.1})
    assert by_source(window.close()) == pytest.approx({"rapl": 200})
    assert window.close().uncertainty_j == pytest.approx(200 + 0.15 * 200)
    assert "counted whole by both" in one.message[-1]
    assert one.message[-1].endswith("no telling")
    assert by_source(two.close())["modelled"] == pytest.approx(100)
    unknown = meter_of(world, 2, splits={}).start()
    play(world, [one, unknown], 1.0, 100.0, {})
    assert by_source(unknown.close()) == pytest.approx({"rapl": 100})
    assert "its use by process is unknown" in unknown.message[-1]


def test_no_idle_baseline_while_it_is_shared(clock: Any, meter_of: Any) -> None:
    world = World(clock)
    one = meter_of(world, 0).start()
    one.channel.idle_w = 10.0
    play(world, [one], 1.0, 100.0, {})
    two = meter_of(world, 1).start()
    shared = one.window("shared")
    play(world, [one, two], 1.0, 100.0, {})
    two.close()
    play(world, [one], 1.0, 100.0, {})
    own = one.window("own")
    play(world, [one], 1.0, 100.0, {})
    assert shared.close().idle_j is None
    assert own.close().idle_j == pytest.approx(10)
    assert one.close().idle_j is None


def test_idle_power_is_not_probed_while_another_run_works(
    clock: Any, meter_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(clock)
    monkeypatch.setattr("time.sleep", lambda seconds: play(world, [], seconds, 50.0, {}))
    alone = meter_of(world, 0, idle_probe_s=1.0).start()
    assert alone.channel.idle_w == pytest.approx(50)
    late = meter_of(world, 1, idle_probe_s=1.0).start()
    assert late.channel.idle_w is None


class Feeder(threading.Thread):
    """Lets a package's counter run at constant power until it is stopped."""

    def __init__(self, path: Path, power_w: float) -> None:
        super().__init__(daemon=True)
        self._path, self._power_w, self._begun_s = path, power_w, time.monotonic()
        self.stopped = threading.Event()
        self.write()

    def write(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(f"{1000 + round(self._power_w * 1e6 * (time.monotonic() - self._begun_s))}\n")
        new.rename(self._path)

    def run(self) -> None:
        while not self.stopped.wait(0.005):
            self.write()


BURN = "import sys,time\nend=time.monotonic()+3\nwhile time.monotonic()<end:\n  {}"
BUSY, LAZY = BURN.format("pass"), BURN.format("time.sleep(0.08); sum(range(200000))")
WATTS = 50.0


@pytest.fixture
def measured_at_once(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run two commands under `overwinter measure` at the same time; return their reports and CPU seconds."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "max_energy_range_uj").write_text("262143328850")
    feeder = Feeder(zone / "energy_uj", WATTS)
    (tmp_path / ".dvc").mkdir()

    def run(sources: list[str], **commands: str) -> dict[str, Any]:
        energy = {"sources": sources, "rapl_root": str(tmp_path / "powercap"), "idle_probe_s": 0.0}
        hardware = {"cpu_idle_fraction": IDLE, "ram_w_per_gib": 0.0, "cpu_tdp_w": 4.0, "cpu_threads": 4}
        (tmp_path / "params.yaml").write_text(json.dumps({"energy": energy, "hardware": hardware}))
        measure = [sys.executable, "-m", "overwinter.cli", "measure", "--output"]
        started = {
            name: subprocess.Popen([*measure, f"{name}.json", "--", sys.executable, "-c", code], cwd=tmp_path)
            for name, code in commands.items()
        }
        used_s = {}
        for name, process in started.items():
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            used_s[name] = usage.ru_utime + usage.ru_stime
        reports = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in commands}
        return {"reports": reports, "used_s": used_s}

    feeder.start()
    yield run  # type: ignore[misc]
    feeder.stopped.set()
    feeder.join()


def test_two_measures_divide_one_package(measured_at_once: Any) -> None:
    """Real commands, on a machine on which others may work too: their part is in neither report."""
    before = proc.cpu_times()
    found = measured_at_once(["rapl", "modelled"], busy=BUSY, lazy=LAZY)
    after = proc.cpu_times()
    assert before is not None
    assert after is not None
    busy_s, idle_s = after.busy_s - before.busy_s, after.idle_s - before.idle_s
    overlaps_s, together_j, expected_j = [], 0.0, 0.0
    for name, report in found["reports"].items():
        reported = {
            part["source"]: part["energy_j"] for part in report["components"] if part["device"] == "cpu:package-0"
        }
        overlaps_s.append(report["duration_s"] - reported["rapl"] / WATTS)
        use = Use(own=found["used_s"][name] / (busy_s + idle_s), busy=busy_s / (busy_s + idle_s))
        part_j = WATTS * overlaps_s[-1] * use.part(meters=2, idle_fraction=IDLE)
        assert reported["modelled"] == pytest.approx(part_j, abs=0.15 * WATTS * overlaps_s[-1])
        together_j, expected_j = together_j + reported["modelled"], expected_j + part_j
        assert any("divided by CPU time" in text for text in report["warnings"])
        assert any("this run counts" in text for text in report["warnings"])
    assert overlaps_s[0] == pytest.approx(overlaps_s[1], abs=0.5)
    assert min(overlaps_s) > 1.0
    assert together_j == pytest.approx(expected_j, abs=0.15 * WATTS * min(overlaps_s))


def test_two_models_of_their_own_work_are_no_neighbours(measured_at_once: Any) -> None:
    found = measured_at_once(["modelled"], busy=BUSY, lazy=LAZY)
    for name, report in found["reports"].items():
        assert not any("same time" in text for text in report["warnings"])
        [cpu] = [part for part in report["components"] if part["device"] == "cpu"]
        allowed = len(os.sched_getaffinity(0))
        own_s = (cpu["energy_j"] - IDLE * min(allowed, 4) * report["duration_s"]) / (1 - IDLE)
        assert own_s == pytest.approx(found["used_s"][name], abs=0.4)


def test_a_run_that_waits_leaves_the_counter_to_the_one_that_measures(clock: Any, meter_of: Any) -> None:
    world = World(clock)
    waits, measures = (meter_of(world, who).start() for who in range(2))
    play(world, [waits, measures], 3.0, 100.0, {0: 0.2, 1: 0.2})
    with waits.paused():
        measures.tick()
        window = measures.window("responses")
        play(world, [waits, measures], 5.0, 100.0, {1: 0.2})
        window.close()
    play(world, [waits, measures], 3.0, 100.0, {0: 0.2, 1: 0.2})
    assert by_source(window.close()) == pytest.approx({"rapl": 500})
    assert window.close().measured_fraction == 1.0
    reports = waits.close(), measures.close()
    assert sum(report.energy_j for report in reports) == pytest.approx(1100, abs=5)
    assert reports[0].energy_j == pytest.approx(300, abs=5)
    assert reports[0].duration_s == pytest.approx(6.0)
    assert world.metering == set()
