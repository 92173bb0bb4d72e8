import pytest

from overwinter import serving


def test_public_names_are_sorted_and_complete():
    assert serving.__all__ == sorted(serving.__all__)
    assert all(hasattr(serving, name) for name in serving.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        serving.nothing  # noqa: B018 -- the access is what is tested
