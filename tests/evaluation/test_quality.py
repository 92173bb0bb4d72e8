import numpy as np
import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.evaluation import measure_quality


class Echo:
    """Answers the inputs themselves."""

    def run(self, inputs):
        return inputs


def test_accuracy_over_several_batches():
    labels = np.arange(600) % 3
    inputs = np.eye(3, dtype=np.float32)[labels]
    assert measure_quality(Echo(), inputs, labels) == 1.0
    labels = labels.copy()
    labels[:150] = (labels[:150] + 1) % 3
    assert measure_quality(Echo(), inputs, labels) == 0.75


def test_nan_in_an_answer_is_refused():
    inputs = np.zeros((300, 3), np.float32)
    inputs[260, 1] = np.nan
    with pytest.raises(OverwinterError, match="test samples 256 to 299"):
        measure_quality(Echo(), inputs, np.zeros(300, int))


def test_an_empty_split_is_refused():
    with pytest.raises(ConfigError, match="test split is empty"):
        measure_quality(Echo(), np.zeros((0, 3), np.float32), np.zeros(0, int))
