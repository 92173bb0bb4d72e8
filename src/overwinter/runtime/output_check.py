"""Check that a built model has the outputs of its source."""

from __future__ import annotations

import numpy as np

from overwinter.errors import OverwinterError
from overwinter.inputs import Inputs
from overwinter.runtime.examples import expected_outputs
from overwinter.runtime.session import Array, Session, largest_difference
from overwinter.signature import Signature


def check_outputs(
    session: Session,
    reference: Session,
    examples: Inputs,
    *,
    signature: Signature,
    tolerance: float,
    who: str,
    remedy: str,
) -> None:
    """Compare the outputs of two sessions at two batch sizes, and at another length where one varies.

    Args:
        session: session of the built model.
        reference: session with the expected outputs.
        examples: samples of the data (n, ...).
        signature: the model's; `overwinter.models.signature_of` returns it.
        tolerance: largest allowed difference, relative to the largest output.
        who: the two, for the message: ``OpenVINO's outputs differ from ONNX Runtime's``.
        remedy: what to do, for the message.

    Raises:
        OverwinterError: the outputs differ by more than that, or those of ``reference`` are not finite.
    """
    for inputs, expected in expected_outputs(reference.run, examples, signature):
        difference = largest_difference(session.run(inputs), finite(expected))
        if difference > tolerance:
            raise OverwinterError(f"{who} by {difference:.2g} of the largest; the tolerance is {tolerance:g}. {remedy}")


def finite(outputs: Array) -> Array:
    """Return ``outputs``, the model's own, if they are finite.

    Raises:
        OverwinterError: they contain NaN or infinity.
    """
    if not np.isfinite(outputs).all():
        raise OverwinterError(
            "The model itself outputs NaN or infinity for samples of the data, so no runtime's outputs can be compared "
            "with its own. Look for a division by zero, a logarithm or broken weights in it."
        )
    return outputs
