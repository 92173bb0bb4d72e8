import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import OverwinterError
from overwinter.sparsity.ratios import RATIOS, kept_weights, layer_densities

sides = st.integers(1, 40)
shapes = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.lists(sides, min_size=2, max_size=4), min_size=1, max_size=8
)
densities = st.floats(0.001, 1.0)
ratios = st.sampled_from(RATIOS)


def sizes_of(shapes):
    return {name: math.prod(shape) for name, shape in shapes.items()}


@given(shapes, densities, ratios)
def test_densities_are_shares_whose_mean_over_weights_is_what_was_asked(shapes, density, ratios):
    found = layer_densities(shapes, density=density, ratios=ratios)
    sizes = sizes_of(shapes)
    assert all(0 < value <= 1 for value in found.values())
    kept = sum(found[name] * size for name, size in sizes.items())
    assert kept == pytest.approx(density * sum(sizes.values()), rel=1e-9)


@given(shapes, densities, ratios)
def test_kept_weights_add_up_exactly_and_empty_no_layer(shapes, density, ratios):
    sizes = sizes_of(shapes)
    total = round(density * sum(sizes.values()))
    if total < len(sizes):
        with pytest.raises(OverwinterError, match=r"some would be emptied.\nRemove less"):
            kept_weights(shapes, density=density, ratios=ratios)
        return
    kept = kept_weights(shapes, density=density, ratios=ratios)
    assert sum(kept.values()) == total
    assert all(1 <= kept[name] <= size for name, size in sizes.items())
    found = layer_densities(shapes, density=density, ratios=ratios)
    if all(found[name] * size >= 1 for name, size in sizes.items()):
        assert all(abs(kept[name] - found[name] * size) < 2 for name, size in sizes.items())


def test_erk_keeps_small_layers_denser():
    found = layer_densities({"small": [8, 8], "large": [80, 80]}, density=0.1, ratios="erk")
    assert found["small"] == pytest.approx(10 * found["large"])


def test_what_would_exceed_one_is_dense_and_the_rest_is_rescaled():
    found = layer_densities({"tiny": [2, 2], "large": [100, 100], "wide": [100, 200]}, density=0.5, ratios="erk")
    assert found["tiny"] == 1.0
    assert found["large"] / found["wide"] == pytest.approx((200 / 10_000) / (300 / 20_000))


def test_convolutions_count_every_side_of_the_kernel():
    found = layer_densities({"conv": [16, 8, 3, 3], "linear": [16, 72]}, density=0.05, ratios="erk")
    assert found["conv"] / found["linear"] == pytest.approx((16 + 8 + 3 + 3) / (16 + 72))
