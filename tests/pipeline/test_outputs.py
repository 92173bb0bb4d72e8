import os

import pytest

from overwinter.errors import OverwinterError
from overwinter.pipeline.outputs import Outputs


def _filled(outputs: Outputs, text: str) -> None:
    (outputs.staging("model") / "weights").write_text(text)
    outputs.staging("metrics.json").write_text(text)


def test_nothing_has_its_final_name_before_publication(tmp_path):
    outputs = Outputs(tmp_path / "train")
    _filled(outputs, "new")
    assert not (tmp_path / "train" / "model").exists()
    assert not (tmp_path / "train" / "metrics.json").exists()
    outputs.publish()
    assert sorted(os.listdir(tmp_path / "train")) == ["metrics.json", "model"]


def test_publication_replaces_what_was_there(tmp_path):
    for text in ("old", "new"):
        outputs = Outputs(tmp_path)
        _filled(outputs, text)
        outputs.publish()
    assert (tmp_path / "model" / "weights").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["metrics.json", "model"]


def test_a_stage_that_fails_leaves_the_old_result(tmp_path):
    first = Outputs(tmp_path)
    _filled(first, "old")
    first.publish()
    second = Outputs(tmp_path)
    _filled(second, "half")
    second.discard()
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["metrics.json", "model"]


def test_what_a_killed_stage_left_in_staging_is_removed_at_the_next_start(tmp_path):
    _filled(Outputs(tmp_path), "of the killed one")
    fresh = Outputs(tmp_path)
    assert os.listdir(tmp_path) == []
    _filled(fresh, "new")


@pytest.mark.parametrize("name", ["model", "metrics.json"])
def test_an_output_that_was_asked_for_and_not_written_is_an_error(tmp_path, name):
    outputs = Outputs(tmp_path)
    outputs.staging(name)
    with pytest.raises(OverwinterError, match=name):
        outputs.publish()


def test_asking_twice_gives_the_same_place(tmp_path):
    outputs = Outputs(tmp_path)
    assert outputs.staging("model") == outputs.staging("model")
