from overwinter import training


def test_everything_promised_is_there():
    assert training.__all__ == sorted(training.__all__)
    assert all(hasattr(training, name) for name in training.__all__)
