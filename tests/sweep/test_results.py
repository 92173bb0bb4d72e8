"""points.json."""

import pytest

from overwinter.errors import ConfigError
from overwinter.sweep.results import PointRecord, PointResult, SweepRecord, read_sweep, sweep_folder, write_sweep


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


@pytest.mark.parametrize("name", ["", "trees", "lock", "a/b", "..", ".hidden", "a b"])
def test_a_name_that_cannot_be_a_folder_is_refused(project, name):
    with pytest.raises(ConfigError, match="cannot be a sweep's name"):
        sweep_folder(project, name)
