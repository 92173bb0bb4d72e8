import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.bundle.raw_samples import as_raw, raw_from, raw_tensors


@given(st.lists(st.binary(max_size=20), min_size=1))
def test_files_come_back(files):
    assert raw_from(raw_tensors(files)) == files


@given(st.lists(st.text(max_size=20), min_size=1))
def test_texts_come_back(texts):
    assert raw_from(raw_tensors(texts)) == texts


def test_arrays_come_back():
    raw = np.arange(6, dtype=np.uint8).reshape(3, 2)
    np.testing.assert_array_equal(raw_from(raw_tensors(raw)), raw)
    assert raw_from({"outputs": raw}) is None


@pytest.mark.parametrize(
    "lengths",
    [None, np.array([3]), np.array([-1, 5]), np.array([4.0]), np.array([[4]]), np.array([2**62, 2**62]), np.array([5])],
)
def test_lengths_that_do_not_add_up_are_refused(lengths):
    tensors = {"raw.files": np.zeros(4, np.uint8)} | ({} if lengths is None else {"raw.lengths": lengths})
    with pytest.raises(ValueError, match="lengths"):
        raw_from(tensors)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match="utf-8"):
        raw_from({"raw.texts": np.full(2, 255, np.uint8), "raw.lengths": np.array([2])})


def test_an_image_that_is_an_array_is_kept_as_a_file():
    pytest.importorskip("PIL", reason="the extra images is not installed")
    pixels = np.zeros((2, 2, 1), np.uint8)
    first, second = as_raw([pixels, b"\x89PNG"], "image")
    assert first.startswith(b"\x89PNG\r\n")
    assert second == b"\x89PNG"
    assert as_raw([np.ones(2), np.ones(2)], "normalize").shape == (2, 2)
