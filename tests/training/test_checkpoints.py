import errno
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import OverwinterError
from overwinter.training import Checkpoints


def save(folder, step):
    Checkpoints(folder, {"seed": 1}).save(step, {"weight": torch.full((3,), float(step))}, {"step": step})


def load(folder, purpose=None):
    return Checkpoints(folder, purpose or {"seed": 1}).load()


def test_nothing_saved_is_nothing_found(tmp_path):
    assert load(tmp_path / "none") is None


def test_the_newest_is_taken_and_the_previous_kept(tmp_path):
    for step in (2, 10, 100):
        save(tmp_path, step)
    tensors, progress = load(tmp_path)
    assert progress == {"step": 100}
    assert torch.equal(tensors["weight"], torch.full((3,), 100.0))
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        "step-000000010.json",
        "step-000000100.json",
    ]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_another_fit_takes_nothing_up(tmp_path):
    save(tmp_path, 1)
    assert load(tmp_path, {"seed": 2}) is None
    assert load(tmp_path) is not None


def test_later_steps_of_another_fit_make_room(tmp_path):
    save(tmp_path, 50)
    Checkpoints(tmp_path, {"seed": 2}).save(3, {"weight": torch.ones(1)}, {"step": 3})
    assert load(tmp_path) is None
    assert load(tmp_path, {"seed": 2})[1] == {"step": 3}


def test_tensors_without_their_json_do_not_exist(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "step-000000002.json").unlink()
    assert load(tmp_path)[1] == {"step": 1}


@given(
    ending=st.sampled_from(["json", "safetensors"]),
    position=st.integers(0, 10_000),
    mask=st.integers(0, 255),
)
def test_any_damage_falls_back_to_the_previous(ending, position, mask):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder, 1)
        save(folder, 2)
        path = folder / f"step-000000002.{ending}"
        content = bytearray(path.read_bytes())
        place = position % len(content)
        if mask:
            content[place] ^= mask
        else:
            del content[place:]
        path.write_bytes(content)
        assert load(folder)[1] == {"step": 1}
        assert (folder / "step-000000002.json.damaged").exists()
        assert load(folder)[1] == {"step": 1}


def test_all_damaged_begins_anew(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step-000000001.safetensors").write_bytes(b"")
    assert load(tmp_path) is None


def test_a_full_disk_is_explained_and_leaves_the_previous(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(path, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("overwinter.files.sync", full)
    with pytest.raises(OverwinterError, match="No space left"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert load(tmp_path)[1] == {"step": 1}
    assert not list(tmp_path.glob(".*.part"))
