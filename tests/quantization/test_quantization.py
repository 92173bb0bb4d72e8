import pytest

from overwinter import quantization


def test_public_names_are_sorted_and_complete():
    assert quantization.__all__ == sorted(quantization.__all__)
    assert all(hasattr(quantization, name) for name in quantization.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        quantization.nothing  # noqa: B018 -- the access is what is tested
