import numpy as np
import pytest

from overwinter.config.groups.evaluation import CORRUPTIONS as CHECKED
from overwinter.errors import ConfigError
from overwinter.evaluation.corruptions import CORRUPTIONS, corrupt

IMAGES = np.random.default_rng(0).random((6, 2, 8, 8), dtype=np.float32)
ROWS = np.random.default_rng(0).random((6, 9), dtype=np.float32)


def test_the_configuration_allows_what_there_is():
    assert tuple(sorted(CORRUPTIONS)) == CHECKED


@pytest.mark.parametrize("inputs", [IMAGES, ROWS], ids=["images", "rows"])
@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_any_shape_is_corrupted_the_same_way_each_time_and_left_alone_itself(name, inputs):
    before = inputs.copy()
    corrupted = corrupt(name, inputs, seed=3)
    assert corrupted.shape == inputs.shape
    assert corrupted.dtype == np.float32
    assert corrupted.flags.c_contiguous
    assert not np.allclose(corrupted, inputs)
    np.testing.assert_array_equal(corrupt(name, inputs, seed=3), corrupted)
    np.testing.assert_array_equal(inputs, before)


def test_contrast_keeps_each_samples_mean_and_halves_its_deviation():
    corrupted = corrupt("contrast", IMAGES, seed=0)
    np.testing.assert_allclose(corrupted.mean(axis=(1, 2, 3)), IMAGES.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(corrupted.std(axis=(1, 2, 3)), IMAGES.std(axis=(1, 2, 3)) / 2, rtol=1e-4)


def test_blur_spreads_a_point_over_nine():
    point = np.zeros((1, 1, 5, 5), np.float32)
    point[0, 0, 2, 2] = 9
    expected = np.zeros((5, 5), np.float32)
    expected[1:4, 1:4] = 1
    np.testing.assert_allclose(corrupt("blur", point, seed=0)[0, 0], expected, rtol=1e-6)


def test_a_fifth_goes_missing():
    assert np.mean(corrupt("missing", IMAGES, seed=0) != IMAGES) == pytest.approx(0.2, abs=0.05)


def test_an_unknown_one_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'nois', which is unknown.*Did you mean 'noise'"):
        corrupt("nois", ROWS, seed=0)
