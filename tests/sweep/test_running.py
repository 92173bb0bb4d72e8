"""What the loop of a sweep decides, without DVC."""

import os

import pytest

from overwinter.config.groups.sweep import SweepSettings
from overwinter.errors import ConfigError, IntegrityError, RefusedError
from overwinter.pipeline.locks import locked
from overwinter.sweep.repository import find_repository
from overwinter.sweep.results import SweepRecord, read_sweep, write_sweep
from overwinter.sweep.running import Written, _Worker, committed_before, programs_to_run, run_points
from overwinter.sweep.trees import make_tree

STAGES = ["train", "sparsify", "quantize"]


def test_a_program_that_starts_tells_what_is_committed():
    assert committed_before("check", STAGES) == ()
    assert committed_before("train", STAGES) == []
    assert committed_before("gate-train", STAGES) == ["train"]
    assert committed_before("quantize", STAGES) == ["train", "sparsify"]
    assert committed_before("gate-hibernate", STAGES) == ()


def written(*keys, budget=None, dvc_yaml="a"):
    return Written(keys=dict(zip(STAGES, keys, strict=True)), budget=budget, dvc_yaml=dvc_yaml)


def test_only_stages_that_differ_from_what_a_tree_holds_are_looked_at():
    holds = written("a", "b", "c")
    assert programs_to_run(holds, written("a", "b", "d")) == ["quantize", "gate-quantize"]
    assert programs_to_run(holds, written("a", "x", "y")) == ["sparsify", "gate-sparsify", "quantize", "gate-quantize"]


def test_dvc_looks_at_everything_when_anything_else_differs():
    holds = written("a", "b", "c")
    assert programs_to_run(None, holds) == []
    assert programs_to_run(holds, holds) == []
    assert programs_to_run(holds, written("x", "y", "z")) == []
    assert programs_to_run(holds, written("a", "b", "d", budget="2 J")) == []
    assert programs_to_run(holds, written("a", "b", "d", dvc_yaml="b")) == []


def test_two_sweeps_of_a_project_do_not_run_at_once(project, point, monkeypatch):
    monkeypatch.setattr("overwinter.pipeline.locks._PATIENCE_S", 0.1)
    with (
        locked(project.state / "sweeps" / "lock", what="The test"),
        pytest.raises(RefusedError, match=f"runs, as process {os.getpid()}, and two do not run at once"),
    ):
        run_points(project, [point("1", train="a")], settings=SweepSettings(name="s"), on_event=lambda event: None)


def test_settings_are_checked_before_the_wait_for_another_sweep(project, point):
    settings = SweepSettings(name="s", budget="-5J")
    with (
        locked(project.state / "sweeps" / "lock", what="The test"),
        pytest.raises(ConfigError, match=r"hydra\.launcher\.budget"),
    ):
        run_points(project, [point("1", train="a")], settings=settings, on_event=lambda event: None)


@pytest.mark.parametrize("name", ["s", "s/points.json", "s/logs", "lock"])
def test_a_sweep_writes_nothing_through_a_link(project, point, tmp_path, name):
    target, link = tmp_path / "elsewhere", project.state / "sweeps" / name
    target.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(IntegrityError, match="is a link"):
        run_points(project, [point("1", train="a")], settings=SweepSettings(name="s"), on_event=lambda event: None)
    assert not list(target.iterdir())


def test_a_tree_is_taken_up_by_the_next_batch_unless_something_changed_it(project):
    tree = make_tree(0, project, find_repository(project), cache=project.root)
    lock = tree.project.root / "dvc.lock"
    lock.write_text("one")
    for content, holds in (("one", written("a", "b", "c")), ("other", None)):
        _Worker(number=0, tree=tree, holds=written("a", "b", "c")).remember()
        lock.write_text(content)
        later = _Worker(number=0, tree=tree)
        later.recall()
        assert later.holds == holds
    later = _Worker(number=0, tree=tree)
    later.recall()
    assert later.holds is None


def test_a_name_of_a_sweep_with_other_overrides_is_refused_before_any_work(project, point):
    earlier = SweepRecord(name="s", until="train", commit="c", overrides=("a=1,2",))
    write_sweep(project, earlier)
    words = {"settings": SweepSettings(name="s"), "on_event": lambda event: None}
    with pytest.raises(ConfigError, match="the sweep s is of a=1,2"):
        run_points(project, [point("1", train="a")], **words, overrides=["a=1,3"])
    assert read_sweep(project, "s") == earlier
