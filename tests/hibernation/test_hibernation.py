import pytest

from overwinter import hibernation


def test_the_door_is_sorted_and_whole():
    assert hibernation.__all__ == sorted(hibernation.__all__)
    assert all(hasattr(hibernation, name) for name in hibernation.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        hibernation.nothing  # noqa: B018 -- the access is what is tested
