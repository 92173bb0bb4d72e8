"""`overwinter run --from-sweep NAME --pick ...` runs the overrides of a point of a sweep; half of it is refused."""

import argparse
from dataclasses import replace

import pytest

from overwinter.cli import main
from overwinter.cli.sweep_front import picked_overrides
from overwinter.config import find_project
from overwinter.sweep import make_points
from overwinter.sweep.results import SweepRecord, write_sweep
from tests.sweep.points import record


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """A sweep with one point of today's configuration, and one of another."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # where sweeps are kept
    project = find_project()
    (today,) = make_points(project, [["seed=1"]], until="evaluate")
    records = [replace(record(name, 0.9, 1.0), overrides=("seed=1",)) for name in (today.name, "01d00000")]
    write_sweep(project, SweepRecord(name="mine", until="evaluate", commit="0", points=tuple(records)))
    return today.name


def picked(*overrides, sweep=None, which=None):
    return picked_overrides(argparse.Namespace(overrides=list(overrides), from_sweep=sweep, pick=which))


def test_without_a_sweep_the_overrides_are_those_given():
    assert picked("seed=2") == ["seed=2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pick", "knee"], "--pick needs a sweep: --from-sweep NAME"),
        (["--from-sweep", "mine"], "--from-sweep mine needs --pick: knee, least-energy"),
        (["-m", "seed=1,2", "--from-sweep", "mine", "--pick", "knee"], "Leave out -m"),
        (["--from-sweep", "nowhere", "--pick", "knee"], "there is no sweep 'nowhere'"),
    ],
)
def test_half_of_it_is_refused(swept, words, message, capsys):
    assert main(["run", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_point_comes_with_what_is_given_after_it(swept, capsys):
    assert picked("threads=1", sweep="mine", which=swept) == ["seed=1", "threads=1"]
    said = capsys.readouterr().err
    assert f"point {swept} of the sweep mine: seed=1" in said
    assert "has changed" not in said


def test_a_point_of_another_configuration_is_said_to_be_one(swept, capsys):
    assert picked(sweep="mine", which="01d") == ["seed=1"]
    assert "configs/ has changed since that point ran" in capsys.readouterr().err
