"""Draws: what is reported of a model whose watts are known."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from overwinter.energy import Component, EnergyReport
from overwinter.serving import measure_power_draw
from overwinter.serving import power_draw as room

WATTS = {"ready": 100.0, "parked": 100.0, "preforked": 80.0, "off": 70.0, "waking": 70.0}
WAKES_J = {"parked": 5.0, "preforked": 20.0, "off": 90.0}
WAKE_S = 0.5
RESPONDING_W, RESPONSE_S = 30.0, 0.25


class World:
    """A server and a meter that share a clock and an account of joules."""

    def __init__(self, *, source="rapl"):
        self.now_s = self.energy_j = 0.0
        self.level, self.source = "off", source
        self.seconds = dict.fromkeys(WATTS, 0.0)
        self.computed_s = 0.0

    def spend(self, duration_s, state=None):
        self.now_s += duration_s
        self.energy_j += duration_s * WATTS[state or self.level]
        self.seconds[state or self.level] += duration_s

    def put(self, level):
        if level == "ready" and self.level != "ready":
            self.spend(WAKE_S, "waking")
            self.energy_j += WAKES_J[self.level]
        self.level = level

    def state_s(self):
        return dict(self.seconds)

    def respond(self):
        self.spend(RESPONSE_S)
        self.energy_j += RESPONSE_S * RESPONDING_W
        self.computed_s += RESPONSE_S
        self.spend(0.05)  # on the way to the client

    def responding_s(self):
        return self.computed_s

    def window(self, name):
        begin_s, begin_j = self.now_s, self.energy_j
        return _Window(lambda: self._report(name, self.now_s - begin_s, self.energy_j - begin_j))

    def _report(self, name, duration_s, energy_j):
        part = Component(
            device=name,
            energy_j=energy_j,
            uncertainty_j=energy_j / 10,
            source=self.source,
            average_w=energy_j / duration_s,
            peak_w=energy_j / duration_s,
        )
        return EnergyReport(
            duration_s=duration_s,
            energy_j=energy_j,
            uncertainty_j=energy_j / 10,
            measured_fraction=1.0,
            components=(part,),
            idle_j=None,
            above_idle_j=None,
            warnings=(),
        )


class _Window:
    def __init__(self, report):
        self._report, self._reported = report, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._reported = self._reported or self._report()
        return self._reported


def measured(monkeypatch, world):
    monkeypatch.setattr(room, "time", SimpleNamespace(sleep=world.spend, monotonic=lambda: world.now_s))
    return measure_power_draw(world, world, ["parked", "preforked", "off"], window_s=8.0, wakes=3)


def test_watts_of_the_levels_and_joules_of_the_wakes_are_found_again(monkeypatch):
    found = measured(monkeypatch, World())
    assert found.watts == pytest.approx({level: WATTS[level] for level in ("ready", "parked", "preforked", "off")})
    assert found.wakes_j == pytest.approx(WAKES_J)
    assert found.responding_w == pytest.approx(RESPONDING_W)
    assert found.wakes_s == pytest.approx(dict.fromkeys(WAKES_J, WAKE_S))


def test_a_level_that_uses_no_less_power_is_left_out(monkeypatch):
    assert measured(monkeypatch, World()).paying == ["preforked", "off"]


def test_what_the_meter_doubts_is_doubted_of_differences_and_wakes(monkeypatch):
    found = measured(monkeypatch, World())
    assert found.uncertainty_w == pytest.approx((100 - 70) / 10)
    assert found.wake_uncertainty_j == pytest.approx(90 / 10)


def test_the_source_says_whether_a_part_was_modelled(monkeypatch):
    assert measured(monkeypatch, World(source="rapl")).source == "rapl; 8 s at each sleep level, 3 wakes from each"
    assert measured(monkeypatch, World(source="modelled")).source.startswith("modelled")


@pytest.mark.slow
def test_the_real_command_meters_a_real_server(hibernate, tmp_path):
    words = ["serve.sleep.levels=[off]", "--window-s", "1", "--wakes", "2", "--output", "measured.yaml"]
    command = [sys.executable, "-m", "overwinter.cli", "power-draw", str(hibernate().folder), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((tmp_path / "measured.yaml").read_text())
    assert "staying at off" in done.stderr
    assert content["sleep"]["off_wake_s"] > 0
    assert content["power_draw"]["off_wake_j"] > 0
    assert content["power_draw"]["responding_w"] > 0
    assert "1 s at each sleep level, 2 wakes from each" in content["power_draw"]["source"]
