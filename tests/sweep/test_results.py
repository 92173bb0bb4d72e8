"""points.json."""

import json
import os
from dataclasses import replace

import pytest

from overwinter.errors import ConfigError, IntegrityError
from overwinter.sweep.results import (
    PointRecord,
    PointResult,
    SweepRecord,
    load_sweep,
    read_sweep,
    sweep_folder,
    write_sweep,
)


def test_records_come_back_as_they_were_written(project, point):
    result = PointResult(
        point=point("1", train="a"), status="done", quality=0.5, ran=("train",), stages_j={"train": 2.0}
    )
    record = SweepRecord(name="s", until="train", commit="c").with_points([PointRecord.of(result)])
    write_sweep(project, record)
    assert read_sweep(project, "s") == record
    again = record.points[0].result(result.point)
    assert (again.quality, again.ran) == (0.5, ())


def test_a_point_that_ran_again_keeps_its_place(point):
    one, two = (PointRecord.of(PointResult(point=point(name, train=name), status="failed")) for name in "12")
    better = PointRecord.of(PointResult(point=point("1", train="1"), status="done"))
    record = SweepRecord(name="s", until="train", commit="c", points=(one, two)).with_points([better])
    assert [each.status for each in record.points] == ["done", "failed"]


def test_points_stand_in_the_order_of_the_batch_whichever_ends_first(point):
    one, two, old = (PointRecord.of(PointResult(point=point(name, train=name), status="done")) for name in "120")
    record = SweepRecord(name="s", until="train", commit="c", points=(two, old))
    assert [each.name for each in record.with_points([one], ["1", "2"]).points] == ["0", "1", "2"]


def test_a_damaged_file_is_as_none(project):
    folder = sweep_folder(project, "s")
    folder.mkdir(parents=True)
    (folder / "points.json").write_text('{"name": "s"')
    assert read_sweep(project, "s") is None
    assert read_sweep(project, "other") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"[]", "is not a JSON object"),
        (b"\xff\x00", "cannot be read"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"name": "s", "until": "train", "commit": "c", "points": [{"name": NaN}]}', "lacks"),
    ],
)
def test_damage_is_named_where_a_point_is_wanted_and_repaired_where_points_run(project, content, message):
    path = sweep_folder(project, "s") / "points.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=message) as raised:
        load_sweep(project, "s")
    assert str(path) in str(raised.value)
    assert read_sweep(project, "s") is None


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_a_link_a_folder_or_a_pipe_is_refused(project, tmp_path, kind):
    path = sweep_folder(project, "s") / "points.json"
    path.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps({"name": "s", "until": "train", "commit": "c"}))
    {"link": lambda: path.symlink_to(elsewhere), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    for read in (read_sweep, load_sweep):
        with pytest.raises(IntegrityError, match="another name"):
            read(project, "s")


def test_a_sweep_has_the_name_of_its_folder(project):
    write_sweep(project, SweepRecord(name="s", until="train", commit="c"))
    sweep_folder(project, "s").rename(sweep_folder(project, "copy"))
    assert load_sweep(project, "copy").name == "copy"


@pytest.mark.parametrize("name", ["", "trees", "lock", "a/b", "..", ".hidden", "a b", "../../x", "a" * 300])
def test_a_name_that_cannot_be_a_folder_is_refused(project, name):
    with pytest.raises(ConfigError, match="cannot be a sweep's name"):
        sweep_folder(project, name)


def test_a_file_in_the_place_of_the_state_is_named(project):
    project.state.write_text("")
    with pytest.raises(ConfigError, match="is a file, but Overwinter keeps its state in that folder"):
        sweep_folder(project, "s")


def test_a_name_is_of_one_sweep():
    record = SweepRecord(name="s", until="train", commit="c", overrides=("a=1,2", "b=3"))
    record.check_same(["b=3", "a=1,2"])
    SweepRecord(name="s", until="train", commit="c").check_same(["a=1,2"])
    with pytest.raises(ConfigError, match=r"the sweep s is of a=1,2 b=3; give this one .*--name NAME"):
        record.check_same(["b=3", "a=1,2,4"])


def test_a_point_of_a_changed_configuration_takes_the_place_of_the_earlier_one(point):
    earlier = [PointRecord.of(PointResult(point=point(name, train=name), status="done")) for name in "12"]
    record = SweepRecord(name="s", until="train", commit="c", points=tuple(earlier))
    now = replace(point("9", train="1"), params="changed")
    assert [each.name for each in record.without_replaced([now, point("2", train="2")]).points] == ["2"]
