"""`overwinter draws`: what it writes is what a server reads."""

from dataclasses import replace

import pytest

from overwinter.cli import draws as command
from overwinter.cli import main
from overwinter.cli.service import load_service
from overwinter.serving import Draws

FOUND = Draws(
    watts={"ready": 2.5, "parked": 2.25, "preforked": 2.25, "off": 2.0},
    uncertainty_w=0.125,
    wakes_j={"parked": 0.5, "preforked": 1.0, "off": 4.0},
    wake_uncertainty_j=0.25,
    wakes_s={"parked": 0.0625, "preforked": 0.125, "off": 0.5},
    source='modelled; "20 s" on each rung, 10 wakes from each',
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    assert main(["init", str(tmp_path / "project")]) == 0
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_the_file_that_it_writes_is_a_choice_of_the_group_serve(project, monkeypatch, capsys):
    monkeypatch.setattr(command, "_measured", lambda *_: FOUND)
    assert main(["draws", "outputs/hibernate/bundle", "--output", "configs/serve/measured.yaml"]) == 0
    assert "2.50 W" in capsys.readouterr().out
    serve = load_service(["serve=measured"]).serve
    assert list(serve.sleep.rungs) == ["parked", "off"]
    assert (serve.sleep.preforked_wake_s, serve.draws.off_w, serve.draws.off_wake_j) == (0.125, 2.0, 4.0)
    assert (serve.draws.uncertainty_w, serve.draws.wake_uncertainty_j) == (0.125, 0.25)
    assert serve.draws.source == FOUND.source


def test_off_is_measured_even_where_nobody_rests_there(project, monkeypatch):
    """Every model begins there, so what it draws is part of every account."""
    asked = []
    monkeypatch.setattr(command, "_measured", lambda _arguments, rungs, _alone: asked.append(rungs) or FOUND)
    words = ["serve.sleep.rungs=[parked]", "--output", "configs/serve/measured.yaml"]
    assert main(["draws", "outputs/hibernate/bundle", *words]) == 0
    assert asked == [["parked", "off"]]
    assert list(load_service(["serve=measured"]).serve.sleep.rungs) == ["parked"]


def test_where_no_rung_draws_less_nothing_is_written(project, monkeypatch, capsys):
    same = replace(FOUND, watts=dict.fromkeys(FOUND.watts, 2.5))
    monkeypatch.setattr(command, "_measured", lambda *_: same)
    assert main(["draws", "outputs/hibernate/bundle", "--output", "configs/serve/measured.yaml"]) == 1
    assert "saves nothing here" in capsys.readouterr().err
    assert not (project / "configs/serve/measured.yaml").exists()


@pytest.mark.parametrize("words", [("--wakes", "1"), ("--window-s", "0")])
def test_too_little_to_measure_is_refused(project, words, capsys):
    assert main(["draws", "outputs/hibernate/bundle", *words]) == 2
    assert "at least" in capsys.readouterr().err


def test_a_bundle_that_is_none_is_told(project, capsys):
    assert main(["draws", "nowhere", "--window-s", "1", "--wakes", "2"]) == 1
    assert "nowhere" in capsys.readouterr().err
