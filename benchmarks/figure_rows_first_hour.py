"""The figures of a new user's first hour."""

from __future__ import annotations

from collections.abc import Iterator

from figure_rows import Row, has_result, result

_SHOWN = ("first result", "first refused budget", "first report", "metered script")


def first_hour_rows() -> Iterator[Row]:
    """Return the rows of the steps, and of a model and a training script of one's own."""
    if not has_result("first_hour"):
        return
    found = result("first_hour")
    steps = {step["name"]: step for step in found["steps"]}
    for name in _SHOWN:
        yield f"{name}: `{steps[name]['command']}`", f"{steps[name]['wall_s']:.0f} s", ""
    own, trainer = found["own_model"], found["trainer"]
    what = f"{own['script_lines']}-line script of a network on folders of images, to a server that answers"
    value = f"{own['wall_s']:.0f} s ({own['cpu_s']:.0f} s of processor time)"
    yield what, value, f"{own['asked_wall_s']} s"
    yield "the same: lines edited", f"{own['edited_lines']}", f"{own['asked_edited_lines']}"
    yield "lines added to a Trainer script to meter it", f"{trainer['added_lines']}", f"{trainer['asked_added_lines']}"
