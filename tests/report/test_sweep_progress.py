"""Progress of a sweep, as lines."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from overwinter.report.sweep_progress import PlainSweepProgress, RichSweepProgress, sweep_progress_for
from overwinter.sweep.points import Point
from overwinter.sweep.results import PointResult

POINT = Point(name="1a2b3c4d", overrides=("seed=1",), params="", config=None, keys={"train": "k"})


def event(kind, stage="", **details):
    return {"event": kind, "stage": stage, "point": POINT.name, "time_s": 0.0, **details}


def ended(status="done", spent_j=12.5, **values):
    result = PointResult(point=POINT, status=status, run_id="s/1", **values)
    counts = {"finished": 1, "total": 3, "status": status, "message": result.message, "result": result}
    return event("point", spent_j=spent_j, **counts)


STARTED = event("point", status="started", finished=0, total=3)
PROGRESS = event("progress", "train", done=1, total=4, figures={"loss": 0.5}, energy_j=7.0)


def test_lines_say_what_ran_and_what_is_spent(capsys):
    progress = PlainSweepProgress()
    for each in (STARTED, event("start", "train"), PROGRESS, event("start", "gate-train"), ended(ran=("train",))):
        progress(each)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("1a2b3c4d: train")
    assert lines[1].endswith("1/3 1a2b3c4d seed=1 done (ran train) (12.5 J so far)")
    assert len(lines) == 2


def test_a_point_that_is_not_done_says_why_in_one_line(capsys):
    PlainSweepProgress()(ended("failed", message="train: it broke\nand more"))
    assert "failed: train: it broke (12.5 J so far)" in capsys.readouterr().err


@pytest.mark.parametrize("spent_j", [0.0, 20.0])
def test_bars_follow_the_running_points(spent_j):
    console = Console(file=StringIO(), force_terminal=True, width=140)
    progress = sweep_progress_for(console)
    assert isinstance(progress, RichSweepProgress)
    for each in (
        STARTED,
        event("start", "check"),
        PROGRESS,
        event("say", text="its worker died"),
        ended(spent_j=spent_j),
    ):
        progress(each)
    progress.close()
    shown = console.file.getvalue()
    assert "1a2b3c4d: its worker died" in shown
    assert "1/3 points" in shown
    assert ("20.0 J" in shown) == (spent_j > 0)


def test_a_search_counts_all_its_points_and_shows_what_varies(capsys):
    console = Console(file=StringIO())
    progress = sweep_progress_for(console, fixed={"train.epochs=3"}, ended=4, total=12)
    point = replace(POINT, overrides=("train.epochs=3", "seed=1"))
    progress({**ended(), "total": 1, "result": PointResult(point=point, status="done")})
    assert "5/12 1a2b3c4d seed=1 done (nothing ran)" in capsys.readouterr().err
