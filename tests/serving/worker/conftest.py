"""Models of the worker's tests."""

import numpy as np
import pytest

from tests.support.woken import specs, woken


@pytest.fixture
def pair():
    """A model of two inputs without preprocessing: tokens and a number."""
    return woken(
        lambda inputs: inputs["tokens"].sum(axis=1, keepdims=True) * inputs["weight"],
        specs(tokens=("int64", (None, None)), weight=("float32", (None, 1))),
        (None, 1),
        canary={"tokens": np.array([[1, 2]]), "weight": np.ones((1, 1), np.float32)},
        task={"name": "regression"},
    )
