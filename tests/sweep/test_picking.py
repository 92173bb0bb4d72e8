"""A point is picked by what it gave, or by name; where nothing fits, the message says what is nearest."""

from dataclasses import replace

import pytest

from overwinter.config import Project
from overwinter.errors import ConfigError
from overwinter.sweep.front import find_front, write_front
from overwinter.sweep.goal import FigureLimit
from overwinter.sweep.picking import front_of, pick_point
from overwinter.sweep.results import SweepRecord, sweep_folder, write_sweep
from tests.sweep.points import GOAL, record

POINTS = (
    record("aaaa1111", 0.99, 10.0, 900),
    record("aaaa2222", 0.98, 4.0, 500),
    record("bbbb3333", 0.90, 2.0, 400),
    record("cccc4444", 0.85, 3.0, 300),
    record("dddd5555", status="refused", message="the gate of evaluate refused it."),
)


@pytest.fixture
def swept(tmp_path):
    """Write a sweep of some points and its front; return how to pick from it."""

    def made(points=POINTS, goal=GOAL):
        project = Project(root=tmp_path, configs=tmp_path / "configs", config_name="config")
        written = SweepRecord(name="mine", until="evaluate", commit="0", points=points)
        write_sweep(project, written)
        write_front(sweep_folder(project, "mine"), find_front((), goal))
        return lambda wanted, name="mine": pick_point(project, name, wanted).name

    return made


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("knee", "aaaa2222"),
        ("least-energy", "bbbb3333"),
        ("least-energy:accuracy>=0.95", "aaaa2222"),
        ("least-energy:quality>=0.985", "aaaa1111"),
        ("least-energy:size_bytes<=300", "cccc4444"),
        ("best-quality", "aaaa1111"),
        ("aaaa2222", "aaaa2222"),
        ("cc", "cccc4444"),
    ],
)
def test_it_picks(swept, wanted, name):
    assert swept()(wanted) == name


def test_the_limits_of_the_sweep_hold_too(swept):
    limit = FigureLimit(figure="quality", bound=0.95, lower=True, text="accuracy >= 0.95")
    assert swept(goal=replace(GOAL, limits=(limit,)))("least-energy") == "aaaa2222"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("least-energy:accuracy>=0.999", "has accuracy >= 0.999. The closest is aaaa1111: accuracy 0.99. Ask for less"),
        ("least-energy:accuraci>=0.9", "does not know 'accuraci'.*Did you mean 'accuracy'"),
        ("least-energy:", None),
        ("best-quality:accuracy>=0.9", "has no such point. Write knee, least-energy"),
        ("kne", "Did you mean 'knee'"),
        ("aaaa", "several points begin so: aaaa1111, aaaa2222"),
        ("dddd", "point dddd5555 is refused: the gate of evaluate refused it"),
        ("", "has no such point"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(swept, wanted, message):
    if message is None:
        assert swept()(wanted) == "bbbb3333"
        return
    with pytest.raises(ConfigError, match=message):
        swept()(wanted)


def test_a_front_without_a_knee_says_so(swept):
    pick = swept(points=(record("a", 0.9, 2.0), record("b", 0.8, 1.0)))
    with pytest.raises(ConfigError, match=r"has no knee: its 2 points lie on a line"):
        pick("knee")


def test_a_sweep_that_is_unknown_or_has_no_finished_point_is_named(swept):
    pick = swept(points=POINTS[-1:])
    with pytest.raises(ConfigError, match=r"no point of the sweep mine is done yet. Point dddd5555 was refused"):
        pick("knee")
    with pytest.raises(ConfigError, match=r"there is no sweep 'mien'. Sweeps here: mine. Did you mean 'mine'"):
        pick("knee", name="mien")


def test_without_a_kept_goal_the_front_is_of_quality_against_joules():
    from overwinter.config import find_project

    points = [replace(point, overrides=("seed=1",)) for point in POINTS]
    front = front_of(find_project(), SweepRecord(name="never-kept", until="evaluate", commit="0", points=tuple(points)))
    assert front.objectives == ("quality", "energy_per_response_j")
    assert [point.name for point in front.points] == ["aaaa1111", "aaaa2222", "bbbb3333"]
