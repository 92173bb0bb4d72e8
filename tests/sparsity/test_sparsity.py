from overwinter import sparsity


def test_everything_promised_is_there():
    assert sparsity.__all__ == sorted(sparsity.__all__)
    assert all(hasattr(sparsity, name) for name in sparsity.__all__)
