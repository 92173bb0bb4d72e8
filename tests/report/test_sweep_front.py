"""The table of a front shows what differs between its points, and marks the knee and the cheapest."""

from dataclasses import replace

from rich.console import Console

from overwinter.report.sweep_front import describe_front, render_front
from overwinter.report.sweep_summary import varied_overrides
from overwinter.sweep.front import find_front
from overwinter.sweep.goal import FigureLimit
from overwinter.tasks import Measure
from tests.sweep.points import GOAL, record

RECORDS = [record("a", 1.0, 10.0, 900), record("b", 0.95, 3.0, 500), record("c", 0.5, 1.0, 400)]
LIMITED = replace(GOAL, limits=(FigureLimit(figure="quality", bound=0.9, lower=True, text="accuracy >= 0.9"),))


def rendered(front, headline, without=()):
    console = Console(width=140)
    with console.capture() as capture:
        console.print(render_front(front, headline, without, settings=varied_overrides(RECORDS)))
    return capture.get()


def test_it_shows_own_settings_figures_and_marks():
    lines = rendered(find_front(RECORDS, GOAL), Measure(name="accuracy")).splitlines()
    row = next(line for line in lines if line.strip().startswith("b "))
    assert "x=b" in row
    assert "seed=1" not in row
    assert "95.00 %" in row
    assert "3.00 J" in row
    assert row.rstrip().endswith("knee")
    assert next(line for line in lines if line.strip().startswith("c ")).rstrip().endswith("least energy")


def test_the_cheapest_within_the_limits_is_marked_with_them():
    text = rendered(find_front(RECORDS, LIMITED), None)
    assert "least energy with accuracy >= 0.9" in text
    assert "0.95" in text
    assert "500 B" not in rendered(find_front(RECORDS, LIMITED), None, without=("size",))


def test_the_line_below_says_what_the_front_is_of():
    assert describe_front(find_front(RECORDS, LIMITED)) == (
        "The Pareto front of 2 points with accuracy >= 0.9: accuracy against energy per response. It has no knee."
    )
    assert describe_front(find_front([], LIMITED)).startswith("No front: no point with accuracy >= 0.9 is done")


def test_a_front_of_one_point_shows_only_what_varies_in_the_sweep():
    shown = rendered(find_front(RECORDS[:1], GOAL), None)
    assert "x=a" in shown
    assert "seed=1" not in shown
