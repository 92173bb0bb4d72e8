import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.errors import IntegrityError, OverwinterError
from overwinter.serving import Canary, read_bundle, write_bundle

CANARY = Canary(
    inputs=np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2),
    answers=np.array([[1, 2], [3, 4]], np.float32),
    tolerance=1e-3,
)


def write(folder, payload, **changes):
    return write_bundle(
        folder,
        **{
            "payload": payload,
            "form": "int8_static",
            "runtime": "onnxruntime",
            "input_shape": (1, 2, 2),
            "labels": ["no", "yes"],
            "preprocessing": {"mean": 0.5, "std": 0.25},
            "canary": CANARY,
            "production_energy_j": 12.5,
            "lineage": {"stage": "hibernate"},
        }
        | changes,
    )


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    folder = tmp_path_factory.mktemp("payload")
    (folder / "model.onnx").write_bytes(bytes(range(256)))
    (folder / "more").mkdir()
    (folder / "more" / "table.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, payload):
    """A bundle that tests damage and repair."""
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write(folder, payload)
    return folder


def test_a_bundle_says_what_was_put_in(whole):
    bundle = read_bundle(whole)
    assert (bundle.form, bundle.runtime, bundle.input_shape) == ("int8_static", "onnxruntime", (1, 2, 2))
    assert bundle.labels == ("no", "yes")
    assert bundle.production_energy_j == 12.5
    np.testing.assert_array_equal(bundle.canary.inputs, CANARY.inputs)
    np.testing.assert_array_equal(bundle.canary.answers, CANARY.answers)
    assert bundle.size_bytes == sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())


def test_files_are_for_the_owner_only(whole):
    assert {path.stat().st_mode & 0o777 for path in whole.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [whole, *whole.rglob("*")] if path.is_dir()} == {0o700}


def test_equal_contents_have_equal_bytes(tmp_path, payload, whole):
    assert write(tmp_path / "again", payload).digest == read_bundle(whole).digest


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found(whole, data):
    path = data.draw(st.sampled_from(_files(whole)))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[position]))
    _refused(whole, path, content[:position] + bytes([byte]) + content[position + 1 :])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_truncation_and_any_addition_is_found(whole, data):
    path = data.draw(st.sampled_from(_files(whole)))
    content = path.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    _refused(whole, path, data.draw(st.sampled_from([content[:length], content + b"\x00", content + b" "])))


def _refused(folder, path, altered):
    content = path.read_bytes()
    path.write_bytes(altered)
    try:
        with pytest.raises(IntegrityError):
            read_bundle(folder)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["bundle.json", "canary.safetensors", "payload/model.onnx"])
def test_a_missing_file_is_found(tmp_path, whole, name):
    shutil.copytree(whole, tmp_path / "bundle")
    (tmp_path / "bundle" / name).unlink()
    with pytest.raises(IntegrityError):
        read_bundle(tmp_path / "bundle")


def test_a_file_that_is_not_listed_is_found(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "bundle")
    (tmp_path / "bundle" / "payload" / "model.onnx.data").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"does not list: payload/model\.onnx\.data"):
        read_bundle(tmp_path / "bundle")


def test_a_link_to_the_right_bytes_is_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "bundle")
    model = tmp_path / "bundle" / "payload" / "model.onnx"
    model.unlink()
    model.symlink_to(whole / "payload" / "model.onnx")
    with pytest.raises(IntegrityError, match="links or devices"):
        read_bundle(tmp_path / "bundle")


def test_an_occupied_folder_is_left_alone(tmp_path, payload):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OverwinterError, match="holds something already"):
        write(tmp_path, payload)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_left_of_a_bundle_that_could_not_be_written(tmp_path, payload, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("overwinter.serving.bundle._copy_payload", fail)
    with pytest.raises(OverwinterError, match="No space left"):
        write(tmp_path / "bundle", payload)
    assert list(tmp_path.iterdir()) == []
