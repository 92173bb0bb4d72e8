import pytest

from overwinter import runtime


def test_public_names_are_sorted_and_complete():
    assert runtime.__all__ == sorted(runtime.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(runtime, name) for name in runtime.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        runtime.nothing  # noqa: B018 -- the access is what is tested
