from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.serving.sleep.requests import read_arrivals


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "requests.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_arrivals_are_read_with_any_columns_beside(write):
    assert read_arrivals(write("tokens, seconds\n5,0.5\n6,2\n7,2\n"), seed=0).tolist() == [0.5, 2, 2]


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    assert read_arrivals(write("\ufeffseconds\n1\n2\n"), seed=0).tolist() == [1, 2]


def test_counted_requests_are_spread_over_their_bins(write):
    times_s = read_arrivals(write("seconds,count\n0,1000\n300,0\n600,2000\n1200,500\n"), seed=1)
    assert np.all(np.diff(times_s) >= 0)
    assert np.histogram(times_s, [0, 300, 600, 900, 1200, 1500])[0].tolist() == [1000, 0, 2000, 0, 500]
    within = times_s[times_s < 300]
    assert within.mean() == pytest.approx(150, abs=15)
    assert within.std() == pytest.approx(300 / 12**0.5, rel=0.1)  # uniform, not evenly spaced
    assert np.diff(within).std() == pytest.approx(np.diff(within).mean(), rel=0.2)


def test_the_seed_decides_the_spread(write):
    path = write("seconds,count\n0,10\n60,10\n")
    assert np.array_equal(read_arrivals(path, seed=1), read_arrivals(path, seed=1))
    assert not np.array_equal(read_arrivals(path, seed=1), read_arrivals(path, seed=2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("seconds\n", "holds no request"),
        ("time,count\n1,2\n", "no column `seconds`, only time, count"),
        ("seconds\n1\n-2\n", "line 3: seconds='-2'"),
        ("seconds\n1\nnan\n", "line 3: seconds='nan'"),
        ("seconds\n1\nsoon\n", "line 3: seconds='soon'"),
        ("seconds,count\n1\n", "line 2: count=None"),
        ("seconds\n5\n4\n", "seconds=4 comes after seconds=5 .line 3"),
        ("seconds,count\n0,1\n0,1\n", "one row per bin"),
        ("seconds,count\n0,1.5\n300,1\n", "must be a whole number"),
        ("seconds,count\n0,7\n", "one bin only"),
        ("seconds,count\n0,1\n300,0\n", "nothing to replay"),
        ("seconds,count\n0,1e12\n300,0\n", "at most 50 million"),
        ("seconds\n5\n", "nothing to replay"),
        ("seconds\n5\n5\n", "nothing to replay"),
        (b"seconds\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_in_words(write, text, expected):
    with pytest.raises(ConfigError, match=expected):
        read_arrivals(write(text), seed=0)


def test_a_missing_file_is_refused_in_words(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_arrivals(tmp_path / "none.csv", seed=0)


@given(content=st.binary(max_size=200) | st.text(alphabet='seconds,cut0123456789.-e\n"', max_size=200).map(str.encode))
def test_any_content_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "requests.csv"
    path.write_bytes(b"seconds,count\n" + content)
    try:
        times_s = read_arrivals(path, seed=0)
    except ConfigError:
        return
    assert len(times_s) >= 2
    assert np.all(np.diff(times_s) >= 0)
