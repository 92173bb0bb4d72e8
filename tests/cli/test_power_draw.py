"""`overwinter power-draw`: what it writes is what a server reads."""

from dataclasses import replace

import pytest

from overwinter.cli import main
from overwinter.cli import power_draw as command
from overwinter.cli.service import load_service
from overwinter.serving import PowerDraw

FOUND = PowerDraw(
    watts={"ready": 2.5, "parked": 2.25, "preforked": 2.25, "off": 2.0},
    responding_w=8.0,
    uncertainty_w=0.125,
    wakes_j={"parked": 0.5, "preforked": 1.0, "off": 4.0},
    wake_uncertainty_j=0.25,
    wakes_s={"parked": 0.0625, "preforked": 0.125, "off": 0.5},
    source='modelled; "20 s" at each sleep level, 10 wakes from each',
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    assert main(["init", str(tmp_path / "project")]) == 0
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_the_file_that_it_writes_is_a_choice_of_the_group_serve(project, monkeypatch, capsys):
    monkeypatch.setattr(command, "_measured", lambda *_: FOUND)
    assert main(["power-draw", "outputs/hibernate/bundle", "--output", "configs/serve/measured.yaml"]) == 0
    assert "2.50 W" in capsys.readouterr().out
    serve = load_service(["serve=measured"]).serve
    assert list(serve.sleep.levels) == ["parked", "off"]
    assert (serve.sleep.preforked_wake_s, serve.power_draw.off_w, serve.power_draw.off_wake_j) == (0.125, 2.0, 4.0)
    assert serve.power_draw.responding_w == 8.0
    assert (serve.power_draw.uncertainty_w, serve.power_draw.wake_uncertainty_j) == (0.125, 0.25)
    assert serve.power_draw.source == FOUND.source


def test_off_is_measured_even_where_no_one_sleeps_there(project, monkeypatch):
    """Every model begins there, so what it draws is part of every account."""
    asked = []
    monkeypatch.setattr(command, "_measured", lambda _arguments, levels, _alone: asked.append(levels) or FOUND)
    words = ["serve.sleep.levels=[parked]", "--output", "configs/serve/measured.yaml"]
    assert main(["power-draw", "outputs/hibernate/bundle", *words]) == 0
    assert asked == [["parked", "off"]]
    assert list(load_service(["serve=measured"]).serve.sleep.levels) == ["parked"]


def test_where_no_level_uses_less_power_nothing_is_written(project, monkeypatch, capsys):
    same = replace(FOUND, watts=dict.fromkeys(FOUND.watts, 2.5))
    monkeypatch.setattr(command, "_measured", lambda *_: same)
    assert main(["power-draw", "outputs/hibernate/bundle", "--output", "configs/serve/measured.yaml"]) == 1
    assert "saves nothing here" in capsys.readouterr().err
    assert not (project / "configs/serve/measured.yaml").exists()


@pytest.mark.parametrize("words", [("--wakes", "1"), ("--window-s", "0")])
def test_too_little_to_measure_is_refused(project, words, capsys):
    assert main(["power-draw", "outputs/hibernate/bundle", *words]) == 2
    assert "at least" in capsys.readouterr().err


def test_a_bundle_that_is_not_one_is_reported(project, capsys):
    assert main(["power-draw", "nowhere", "--window-s", "1", "--wakes", "2"]) == 1
    assert "nowhere" in capsys.readouterr().err
