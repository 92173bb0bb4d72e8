import numpy as np
import pytest

from overwinter.errors import OverwinterError
from overwinter.runtime import check_outputs
from overwinter.signature import Signature


class FixedOutputs:
    def __init__(self, value):
        self._value = value

    def run(self, inputs):
        return np.full((len(inputs), 3), self._value, np.float32)


def ask(output, reference):
    check_outputs(
        FixedOutputs(output),
        FixedOutputs(reference),
        np.zeros((4, 2), np.float32),
        signature=Signature.of_one([2]),
        tolerance=0.1,
        who="Mine differ from torch's",
        remedy="Leave it.",
    )


def test_answers_within_the_tolerance_pass():
    ask(1.05, 1.0)


@pytest.mark.parametrize("output", [1.2, float("nan")])
def test_other_answers_are_refused(output):
    with pytest.raises(OverwinterError, match=r"Mine differ from torch's by .* the tolerance is 0.1. Leave it."):
        ask(output, 1.0)


def test_a_model_that_answers_nan_is_at_fault_itself():
    with pytest.raises(OverwinterError, match="The model itself outputs NaN or infinity"):
        ask(float("nan"), float("nan"))
