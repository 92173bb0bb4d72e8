"""The summary of a sweep."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from overwinter.report.sweep_summary import render_sweep, sharing, varied_overrides
from overwinter.sweep.results import PointRecord


def record(name, quantize, **values):
    keys = {"train": "t", "quantize": quantize}
    figures = {"status": "done", "stages_j": {"train": 10.0, "quantize": 1.0}, "headline": "accuracy", "quality": 0.98}
    return PointRecord(name=name, overrides=("seed=1", f"quantize={quantize}"), keys=keys, **figures | values)


def test_sharing_counts_each_distinct_stage_once():
    shared = sharing([record("a", "none"), record("b", "int8"), record("c", "int4", status="failed")])
    assert (shared.points, shared.stages, shared.distinct) == (2, 4, 3)
    assert (shared.apart_j, shared.together_j) == (22.0, 12.0)
    assert "saved 10.0 J of 22.0 J" in shared.describe()


def test_without_a_finished_point_nothing_is_claimed():
    assert sharing([record("a", "none", status="failed")]).describe() == "No point is finished."
    assert sharing([record("a", "none")]).describe() == "1 point is finished."
    other = replace(record("b", "int8"), keys={"train": "u"})
    assert "2 finished; no two of them have a stage in common" in sharing([record("a", "none"), other]).describe()


def test_the_table_shows_only_settings_that_vary():
    records = [record("a", "none", size_bytes=1000), record("b", "int8", ran=("quantize",))]
    assert varied_overrides(records) == {"a": "quantize=none", "b": "quantize=int8"}
    console = Console(file=StringIO(), width=140)
    console.print(render_sweep(records))
    shown = console.file.getvalue()
    assert "seed=1" not in shown
    assert "accuracy" in shown
    assert "1.00 kB" in shown


def test_a_single_point_shows_its_settings():
    assert varied_overrides([record("a", "none")]) == {"a": "seed=1 quantize=none"}
