"""The files that a sweep and its jobs share."""

import pytest

from overwinter.slurm.state import EndedProgram, SlurmFolder
from overwinter.sweep.results import PointRecord


@pytest.fixture
def folder(tmp_path):
    return SlurmFolder(path=tmp_path / "slurm")


def ended(**more):
    facts = {"id": "train-1", "status": "done", "job": "7_1", "host": "n1", "started_s": 1.0, "ended_s": 2.0}
    return EndedProgram(**facts | {"run_id": "s/1-job7_1"} | more)


def test_an_end_is_read_as_it_was_written(folder):
    point = PointRecord(name="a", overrides=("seed=1",), keys={"train": "k"}, status="done", stages_j={"train": 2.0})
    written = ended(ran=("train",), points=(point,))
    assert folder.all_ended() == set()
    folder.note(written)
    assert folder.all_ended() == {"train-1"}
    assert folder.ended("train-1") == written
    folder.forget("train-1")
    assert folder.ended("train-1") is None


@pytest.mark.parametrize("content", ["", "{}", '{"train-1": 3}', "[1]"])
def test_damaged_files_are_as_none(folder, content):
    for name in ("places.json", "ended/train-1.json"):
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert folder.read_places() == {}
    assert folder.ended("train-1") is None


def test_places_are_read_as_they_were_written(folder):
    places = {"train-1": ("7", None), "gate-train-1": ("8", 0)}
    assert folder.read_places() == {}
    folder.write_places(places)
    assert folder.read_places() == places
