"""Whether what a runtime built answers as the model did that it was built from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overwinter.errors import OverwinterError
from overwinter.runtime.session import Array, Session, largest_difference

_BATCHES = (1, 5)  # a compiler may make one program for a batch of one, and another for all larger ones


def check_outputs(
    session: Session, reference: Session, input_shape: Sequence[int], *, tolerance: float, who: str, remedy: str
) -> None:
    """Ask both the same, at two batch sizes.

    Args:
        session: what was built.
        reference: what it must agree with.
        input_shape: of one sample.
        tolerance: largest difference, relative to the largest logit.
        who: the two, for the message: ``OpenVINO's answers differ from ONNX Runtime's``.
        remedy: what to do, for the message.

    Raises:
        OverwinterError: the outputs differ by more than that, or those of ``reference`` are not finite.
    """
    from overwinter.runtime.onnx_export import example_inputs  # a process that wakes a model has no time for onnx

    for batch in _BATCHES:
        inputs = example_inputs(input_shape, batch)
        expected = finite(reference.run(inputs))
        difference = largest_difference(session.run(inputs), expected)
        if difference > tolerance:
            raise OverwinterError(
                f"{who} by {difference:.2g} of the largest logit; allowed are {tolerance:g}. {remedy}"
            )


def finite(outputs: Array) -> Array:
    """Return the model's own answers, which others are compared with.

    Raises:
        OverwinterError: there is NaN or infinity in them.
    """
    if not np.isfinite(outputs).all():
        raise OverwinterError(
            "The model itself outputs NaN or infinity to random inputs, so no runtime's answers can be compared with "
            "its own. Look for a division by zero, a logarithm or broken weights in it."
        )
    return outputs
