import collections
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter import manifest
from overwinter.bundle import Expected, Keys, read_bundle, reading, resolve_bundle
from overwinter.bundle.folder import FolderSource
from overwinter.errors import ConfigError, IntegrityError
from overwinter.signature import Signature


def test_a_bundle_says_what_was_put_in(whole, canary):
    bundle = read_bundle(whole)
    assert (bundle.variant, bundle.runtime, bundle.signature.sample_shape) == ("int8_static", "onnxruntime", (1, 2, 2))
    assert bundle.labels == ("no", "yes")
    assert bundle.production_energy_j == 12.5
    assert (bundle.licence, bundle.notes, bundle.signed_by, bundle.sealed) == (None, None, (), False)
    assert bundle.source == whole
    assert bundle.folder != whole
    assert read_bundle(whole, hold=False).folder == whole
    np.testing.assert_array_equal(bundle.canary.inputs, canary.inputs)
    np.testing.assert_array_equal(bundle.canary.outputs, canary.outputs)
    assert bundle.size_bytes == sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@settings(max_examples=150)
@given(st.data())
def test_any_changed_byte_is_found(whole, data):
    path = data.draw(st.sampled_from(_files(whole)))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[position]))
    _refused(whole, path, content[:position] + bytes([byte]) + content[position + 1 :])


@settings(max_examples=60)
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


def _rewritten(folder, **changes):
    """Write a false bundle.json with a valid seal."""
    content = manifest.read_sealed(folder / "bundle.json", remedy="")
    manifest.write_sealed(folder / "bundle.json", content | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 3},
        {"schema": 1},
        {"variant": 3},
        {"labels": [1]},
        {"signature": ["8"]},
        {"signature": {"inputs": [], "outputs": []}},
        {"signature": {"inputs": [{"name": "input", "dtype": "pickle", "shape": [None]}], "outputs": []}},
        {"task": {}},
        {"task": "classification"},
        {"preprocessing": {"kind": 7}},
        {"canary_tolerance": 1},
        {"canary_tolerance": 1e9},
        {"canary_tolerance": 0.11},
        {"canary_tolerance": -1e-3},
        {"canary_tolerance": True},
        {"canary_tolerance": "0.001"},
        {"preprocessing": []},
        {"preprocessing": {"raw": 8}},
        {"preprocessing": {"raw": {"dtype": 5}}},
        {"preprocessing": {"raw": {"shape": 3}}},
        {"preprocessing": {"raw": {"shape": ["8"]}}},
        {"preprocessing": {"raw": {"shape": [-1]}}},
        {"lineage": None},
        {"files": []},
        {"licence": 7},
        {"execute": "rm -rf /"},
    ],
)
def test_a_document_of_another_variant_is_refused(tmp_path, whole, changes):
    shutil.copytree(whole, tmp_path / "bundle")
    _rewritten(tmp_path / "bundle", **changes)
    with pytest.raises(IntegrityError):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"labels": []}, r"labels: 0, but outputs of \[2\]"),
        ({"labels": ["no"]}, r"labels: 1, but outputs of \[2\]"),
        ({"labels": ["no", "yes", "perhaps"]}, "labels: 3"),
        (
            {"signature": Signature.of_one([4], output=[2]).to_json()},
            r"the recorded inputs: input: float32 \[2, 1, 2, 2\]",
        ),
        ({"signature": Signature.of_one([10**9, 10**9], output=[2]).to_json()}, "the model takes input"),
        ({"signature": Signature.of_one([1, 2, 2], dtype="int64", output=[2]).to_json()}, "takes input: int64"),
        ({"signature": Signature.of_one([1, 2, 2], output=[3]).to_json()}, r"recorded outputs of \[2\]"),
        ({"labels": ["a"], "task": {"name": "multilabel"}}, "labels: 1"),
    ],
)
def test_what_a_bundle_says_must_fit_its_recorded_answers(tmp_path, whole, changes, what):
    shutil.copytree(whole, tmp_path / "bundle")
    _rewritten(tmp_path / "bundle", **changes)
    with pytest.raises(IntegrityError, match=what):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "payload/../../outside", "a\0b", "\ud800"])
def test_a_name_that_leads_out_is_not_followed(tmp_path, whole, name):
    (tmp_path / "outside").write_text("mine")
    shutil.copytree(whole, tmp_path / "bundle")
    files = manifest.read_sealed(whole / "bundle.json", remedy="")["files"]
    _rewritten(tmp_path / "bundle", files=files | {name: {"size_bytes": 4, "sha256": "0" * 64}})
    with pytest.raises(IntegrityError, match="missing"):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b"9" * 10_000, b"NaN", b""])
def test_a_document_made_to_hurt_is_refused(tmp_path, whole, text):
    shutil.copytree(whole, tmp_path / "bundle")
    (tmp_path / "bundle" / "bundle.json").write_bytes(text)
    with pytest.raises(IntegrityError):
        read_bundle(tmp_path / "bundle")


def test_a_giant_document_is_not_read(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "bundle")
    os.truncate(tmp_path / "bundle" / "bundle.json", 1 << 40)  # sparse: takes no disk
    with pytest.raises(IntegrityError, match="16777216 are allowed"):
        read_bundle(tmp_path / "bundle")


def test_another_bundle_than_expected_is_refused(whole):
    digest = read_bundle(whole).digest
    assert read_bundle(whole, expected=Expected(digest=f"sha256:{digest}")).digest == digest
    assert read_bundle(whole, expected=Expected(digest=digest[:8])).digest == digest
    for wrong in ("0" * 64, digest[:7], ""):
        with pytest.raises(IntegrityError, match="another bundle"):
            read_bundle(whole, expected=Expected(digest=wrong))


def test_another_lineage_than_expected_is_refused(whole):
    right = {"stage": "hibernate", "inputs.train/model": "abc", "inputs.evaluate/chosen.json": "def"}
    assert read_bundle(whole, expected=Expected(lineage=right)).variant == "int8_static"
    for key in ("stage", "inputs.train/model", "inputs.nothing", "nothing", "stage.deeper"):
        with pytest.raises(IntegrityError, match="made from something else"):
            read_bundle(whole, expected=Expected(lineage={key: "other"}))


def test_an_unsigned_bundle_is_refused_where_a_key_is_trusted(whole, key_pair):
    with pytest.raises(IntegrityError, match="is not signed"):
        read_bundle(whole, keys=Keys(trusted=(key_pair[1],)))


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="No such file"):
        read_bundle(tmp_path / "none")
    with pytest.raises(IntegrityError, match=r"bundle\.json is missing"):
        read_bundle(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(IntegrityError, match="not a sealed file"):
        read_bundle(tmp_path / "text")


def test_files_beyond_all_reason_are_not_counted_to_the_end(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "bundle")
    for number in range(300):
        (tmp_path / "bundle" / str(number)).touch()
    with pytest.raises(IntegrityError, match="more than 256 files"):
        read_bundle(tmp_path / "bundle")


def test_a_folder_above_a_bundle_is_answered_with_where_it_is(whole):
    with pytest.raises(ConfigError, match=f"Did you mean {re.escape(str(whole))}"):
        resolve_bundle(whole.parent)


def test_what_was_verified_is_held_whatever_becomes_of_the_folder(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle")
    texts = {name: (whole / name).read_bytes() for name in bundle.names}
    assert set(texts) == {path.relative_to(whole).as_posix() for path in _files(whole)}
    os.truncate(tmp_path / "bundle" / "payload" / "model.onnx", 3)
    (tmp_path / "bundle" / "payload" / "model.onnx.data").write_bytes(b"not listed")
    shutil.rmtree(tmp_path / "bundle" / "payload" / "more")
    assert {name: (bundle.folder / name).read_bytes() for name in texts} == texts
    assert {path.relative_to(bundle.folder).as_posix() for path in _files(bundle.folder)} == set(texts)


class _Looked(FolderSource):
    """A folder that changes after its files are listed and before they are read."""

    def __init__(self, folder):
        super().__init__(folder)
        self.happens(folder)


@pytest.mark.parametrize("name", ["bundle.json", "canary.safetensors", "payload/model.onnx"])
@pytest.mark.parametrize("becomes", ["a pipe", "a link", "a folder", "nothing", "shorter", "another"])
def test_what_becomes_of_a_file_between_looking_and_reading_is_found(tmp_path, whole, name, becomes, monkeypatch):
    shutil.copytree(whole, tmp_path / "bundle")

    def happens(_, folder):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        changes = {
            "a pipe": os.mkfifo,  # has no writer
            "a link": lambda path: path.symlink_to(whole / name),
            "a folder": Path.mkdir,
            "nothing": lambda _: None,
            "shorter": lambda path: path.write_bytes(content[:-1]),
            "another": lambda path: path.write_bytes(content[::-1]),
        }
        changes[becomes](folder / name)

    monkeypatch.setattr(_Looked, "happens", happens, raising=False)
    monkeypatch.setattr(reading, "FolderSource", _Looked)
    with pytest.raises(IntegrityError):
        read_bundle(tmp_path / "bundle")


def test_a_file_that_grows_while_it_is_read_gives_no_more_than_was_listed(tmp_path, whole, monkeypatch):
    shutil.copytree(whole, tmp_path / "bundle")

    def happens(_, folder):
        with (folder / "payload" / "model.onnx").open("ab") as stream:
            stream.write(b"more")

    monkeypatch.setattr(_Looked, "happens", happens, raising=False)
    monkeypatch.setattr(reading, "FolderSource", _Looked)
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.payload / "model.onnx").read_bytes() == (whole / "payload" / "model.onnx").read_bytes()


def test_every_byte_is_read_once(whole, monkeypatch):
    """Else two readings could differ."""
    read = collections.Counter()
    real = FolderSource.pieces

    def pieces(self, span):
        read[span[0]] += span[2]
        return real(self, span)

    monkeypatch.setattr(FolderSource, "pieces", pieces)
    bundle = read_bundle(whole)
    assert read == {name: (whole / name).stat().st_size for name in bundle.names}
