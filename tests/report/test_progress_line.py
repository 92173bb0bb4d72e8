"""The line that says how a stage is getting on."""

from __future__ import annotations

from overwinter.report.progress import PlainProgress
from overwinter.report.progress_line import ProgressLine


def event(time_s: float, done: float, *, energy_j: float | None = None, **more: object) -> dict:
    costs = {} if energy_j is None else {"energy_j": energy_j, "duration_s": time_s}
    return {"event": "progress", "stage": "train", "time_s": time_s, "done": done, "total": 660, "figures": {}} | (
        costs | more
    )


def test_the_first_line_has_no_rate():
    assert ProgressLine().text(event(0.0, 83, figures={"loss": 0.25})) == "83 of 660  loss 0.25"


def test_all_is_on_one_line():
    line = ProgressLine()
    line.text(event(1.0, 0, energy_j=10.0))
    assert line.text(event(3.0, 60, energy_j=18.0, budget_left_j=82.0)) == (
        "60 of 660  30/s  20.0 s left  4.00 W  18.0 J  82.0 J of the budget left"
    )


def test_rate_and_power_are_those_of_the_last_seconds():
    line = ProgressLine()
    for second in range(20):
        line.text(event(second, second, energy_j=100.0 * second))
    for second in range(20, 30):
        text = line.text(event(second, 20 + 10 * (second - 20), energy_j=2000.0 + 5 * (second - 20)))
    assert "10/s" in text
    assert "5.00 W" in text


def test_a_count_that_begins_again_has_no_negative_rate():
    line = ProgressLine()
    line.text(event(0.0, 600))
    assert line.text(event(1.0, 10)) == "10 of 660"


def test_at_the_end_nothing_is_left():
    line = ProgressLine()
    line.text(event(0.0, 0))
    assert line.text(event(10.0, 660)) == "660 of 660  66/s"


def test_plain_lines_say_that_a_stage_starts_and_a_gate_only_how_it_ended(capsys):
    show = PlainProgress()
    for stage in ("check", "train"):
        show({"event": "start", "stage": stage, "time_s": 100.0})
    show(event(111.0, 5, energy_j=3.0))
    show({"event": "end", "stage": "train", "time_s": 120.0, "exit_code": 0})
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["train: starts", "train: 5 of 660  3.00 J", "train: done (20.0 s)"]
