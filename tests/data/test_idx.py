import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from overwinter.data.idx import read_idx
from overwinter.errors import IntegrityError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


ARRAYS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, max_side=5))


@given(array=ARRAYS, zipped=st.booleans())
def test_what_is_written_is_read(array, zipped):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
        assert np.array_equal(read_idx(path, dimensions=array.ndim), array)


@given(array=ARRAYS, zipped=st.booleans(), kept=st.integers(0, 10_000))
def test_any_truncation_is_refused(array, zipped, kept):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        content = gzip.compress(idx(array)) if zipped else idx(array)
        path.write_bytes(content[: kept % len(content)])
        with pytest.raises(IntegrityError):
            read_idx(path, dimensions=array.ndim)


@given(content=st.binary(max_size=40))
def test_nonsense_is_refused_or_read_but_never_crashes(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(b"\0\0\x08\x02" + content)
        try:
            array = read_idx(path, dimensions=2)
        except IntegrityError:
            return
        assert array.size == len(content) - 8


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an IDX file"),
        (b"<html>Not found</html>", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file"),
        (idx(np.zeros((2, 2, 2), np.uint8)), "in 1 dimensions"),
        (idx(np.zeros(3, np.uint8)) + b"x", "its header declares 11"),
        (b"\0\0\x08\x01\0\0", "truncated"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
    ],
)
def test_the_complaint_names_the_file_and_what_is_wrong(tmp_path, content, complaint):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=complaint) as caught:
        read_idx(path, dimensions=1)
    assert str(path) in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_idx(tmp_path, dimensions=1)
