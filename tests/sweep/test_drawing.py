"""The picture of a front has every point, and says which are marked."""

import sys
from dataclasses import replace

import pytest

from overwinter.sweep.drawing import draw_front, front_chart
from overwinter.sweep.front import done_points, find_front
from overwinter.sweep.goal import FigureLimit
from tests.sweep.points import GOAL, record

RECORDS = [record("a", 1.0, 10.0, 900), record("b", 0.95, 3.0, 500), record("c", 0.5, 1.0, 400), record("d", 0.4, 5.0)]


def test_every_point_is_there_and_the_marked_ones_are_named():
    goal = replace(GOAL, limits=(FigureLimit(figure="quality", bound=0.9, lower=True, text="accuracy >= 0.9"),))
    front = find_front(RECORDS, goal)
    chart = front_chart(front, done_points(RECORDS))
    kinds = {row["point"]: row["is"] for row in chart["data"]["values"]}
    assert kinds == {"a": "front", "b": "least energy with accuracy >= 0.9", "c": "other", "d": "other"}
    assert chart["layer"][1]["encoding"]["x"]["field"] == "energy_per_response_j"
    assert chart["layer"][1]["encoding"]["y"]["title"] == "accuracy"


def test_it_is_drawn_as_svg(tmp_path):
    pytest.importorskip("vl_convert")
    front = find_front(RECORDS, replace(GOAL, objectives=(*GOAL.objectives, "size_bytes")))
    text = draw_front(tmp_path, front, done_points(RECORDS)).read_text()
    assert text.startswith("<svg")
    assert "joules per response" in text
    assert "bytes on disk" in text


def test_without_two_objectives_points_or_the_library_nothing_is_drawn(tmp_path, monkeypatch):
    assert draw_front(tmp_path, find_front(RECORDS, replace(GOAL, objectives=("quality",))), []) is None
    assert draw_front(tmp_path, find_front([], GOAL), []) is None
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert draw_front(tmp_path, find_front(RECORDS, GOAL), done_points(RECORDS)) is None
