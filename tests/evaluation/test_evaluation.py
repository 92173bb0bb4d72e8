import pytest

from overwinter import evaluation


def test_public_names_are_sorted_and_complete():
    assert evaluation.__all__ == sorted(evaluation.__all__)
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        evaluation.nothing  # noqa: B018 -- the access is what is tested
