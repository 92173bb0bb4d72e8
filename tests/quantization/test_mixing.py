import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.quantization.mixing import Option, fit_divergence, fit_size

AMOUNTS = st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1)), min_size=1, max_size=8)


def layers(amounts: list[tuple[int, float]]) -> dict[str, list[Option]]:
    """Layers of some size, each in floating point, in 8 and in 4 bits."""
    return {
        str(index): [
            Option(bits=None, size_bytes=32 * size, divergence=0.0),
            Option(bits=8, size_bytes=8 * size, divergence=damage / 100),
            Option(bits=4, size_bytes=4 * size, divergence=damage),
        ]
        for index, (size, damage) in enumerate(amounts)
    }


def total(chosen: dict[str, Option]) -> tuple[int, float]:
    return sum(each.size_bytes for each in chosen.values()), sum(each.divergence for each in chosen.values())


@given(AMOUNTS, st.floats(0.125, 1))
def test_a_size_limit_is_kept_and_no_upgrade_that_helps_would_fit(amounts, share):
    options = layers(amounts)
    limit = int(share * sum(32 * size for size, _ in amounts))
    chosen = fit_size(options, limit)
    size, _ = total(chosen)
    assert size <= limit
    for layer, option in chosen.items():
        for other in options[layer]:
            helps = other.divergence < option.divergence
            assert not helps or size - option.size_bytes + other.size_bytes > limit


@given(AMOUNTS, st.floats(0, 2))
def test_a_divergence_limit_is_kept_and_no_saving_would_fit(amounts, limit):
    options = layers(amounts)
    chosen = fit_divergence(options, limit)
    _, damage = total(chosen)
    assert damage <= limit + 1e-9
    for layer, option in chosen.items():
        for other in options[layer]:
            saves = other.size_bytes < option.size_bytes
            assert not saves or damage - option.divergence + other.divergence > limit - 1e-9


def test_bytes_go_where_they_avoid_most():
    options = layers([(100, 0.5), (100, 0.01)])
    assert {name: each.bits for name, each in fit_size(options, 1200).items()} == {"0": 8, "1": 4}
    assert {name: each.bits for name, each in fit_divergence(options, 0.02).items()} == {"0": 8, "1": 4}


def test_a_limit_that_cannot_be_kept_is_refused():
    with pytest.raises(ConfigError, match=r"at least 400 bytes.*leaves them 399.*max_size_ratio"):
        fit_size(layers([(100, 0.5)]), 399)
    worst = {"a": [Option(bits=8, size_bytes=1, divergence=0.5)]}
    with pytest.raises(ConfigError, match=r"0\.5, the limit 0\.1.*max_divergence"):
        fit_divergence(worst, 0.1)
