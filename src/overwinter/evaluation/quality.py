"""How good the answers are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import ConfigError, OverwinterError
from overwinter.serving import Array, Session

_BATCH = 256


def measure_quality(session: Session, inputs: Array, labels: NDArray[np.integer[Any]]) -> float:
    """Return the share of right answers, 0 to 1.

    Args:
        session: what would serve.
        inputs: model inputs (n, ...).
        labels: (n,).

    Raises:
        ConfigError: there is no sample.
        OverwinterError: an answer is NaN or infinite.
    """
    if len(inputs) == 0:
        raise ConfigError("The test split is empty, so quality cannot be measured.")
    right = 0
    for begin in range(0, len(inputs), _BATCH):
        logits = session.run(inputs[begin : begin + _BATCH])  # (batch, classes)
        if not np.isfinite(logits).all():
            raise OverwinterError(f"An answer to the test samples {begin} to {begin + len(logits) - 1} is not finite.")
        right += int((logits.argmax(axis=1) == labels[begin : begin + _BATCH]).sum())
    return right / len(inputs)
