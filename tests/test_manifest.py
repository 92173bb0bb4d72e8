import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter import manifest
from overwinter.errors import IntegrityError

CONTENT = {"name": "net", "numbers": [1, 2.5, None], "nested": {"ü": True}}


def sealed(folder: Path) -> Path:
    path = folder / "content.json"
    manifest.write_sealed(path, CONTENT)
    return path


def test_sealed_content_is_read_back(tmp_path):
    assert manifest.read_sealed(sealed(tmp_path), remedy="") == CONTENT


def test_equal_content_has_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert sealed(tmp_path / "a").read_bytes() == sealed(tmp_path / "b").read_bytes()


@given(position=st.integers(0, 10_000), mask=st.integers(1, 255))
def test_any_altered_byte_is_detected(position, mask):
    with tempfile.TemporaryDirectory() as folder:
        path = sealed(Path(folder))
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= mask
        path.write_bytes(content)
        with pytest.raises(IntegrityError):
            manifest.read_sealed(path, remedy="")


@given(kept=st.integers(0, 10_000))
def test_any_truncation_is_detected(kept):
    with tempfile.TemporaryDirectory() as folder:
        path = sealed(Path(folder))
        content = path.read_bytes()
        path.write_bytes(content[: kept % len(content)])
        with pytest.raises(IntegrityError):
            manifest.read_sealed(path, remedy="")


@pytest.mark.parametrize("text", ["[]", "{}", '{"a": 1}', "nonsense", '{"seal_sha256": NaN, "a": NaN}'])
def test_unsealed_content_is_refused(tmp_path, text):
    path = tmp_path / "content.json"
    path.write_text(text)
    with pytest.raises(IntegrityError, match=r"content\.json"):
        manifest.read_sealed(path, remedy="Do this.")


def test_missing_names_the_remedy(tmp_path):
    with pytest.raises(IntegrityError, match=r"missing\. Run it again\."):
        manifest.read_sealed(tmp_path / "none.json", remedy="Run it again.")


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(b"12345")
    return manifest.describe_files(tmp_path, ["sub/weights"])


def test_an_intact_folder_passes(tmp_path, listed):
    manifest.verify_files(tmp_path, listed, remedy="")
    assert listed["sub/weights"]["size_bytes"] == 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"1234", "4 bytes instead of 5"), (b"123456", "6 bytes instead of 5"), (b"12346", "was altered")],
)
def test_a_changed_file_is_detected(tmp_path, listed, content, complaint):
    (tmp_path / "sub" / "weights").write_bytes(content)
    with pytest.raises(IntegrityError, match=complaint):
        manifest.verify_files(tmp_path, listed, remedy="")


def test_a_missing_file_is_detected(tmp_path, listed):
    (tmp_path / "sub" / "weights").unlink()
    with pytest.raises(IntegrityError, match="cannot be read: No such file"):
        manifest.verify_files(tmp_path, listed, remedy="")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b", "a\0b"])
def test_names_outside_the_folder_are_refused(tmp_path, name):
    with pytest.raises(IntegrityError, match="not inside it"):
        manifest.verify_files(tmp_path, {name: {"sha256": "", "size_bytes": 0}}, remedy="")


@pytest.mark.parametrize("entry", [None, {}, {"sha256": "00"}, {"size_bytes": "many", "sha256": ""}])
def test_a_listing_without_size_and_digest_is_refused(tmp_path, listed, entry):
    with pytest.raises(IntegrityError, match="without a size and a digest"):
        manifest.verify_files(tmp_path, {"sub/weights": entry}, remedy="")


def test_the_seal_is_not_part_of_the_content(tmp_path):
    path = sealed(tmp_path)
    assert set(json.loads(path.read_text())) == {*CONTENT, "seal_sha256"}
