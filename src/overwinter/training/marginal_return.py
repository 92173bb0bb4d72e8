"""What the last epochs bought: quality gained per kilojoule, below which a training is not worth going on."""

from __future__ import annotations

from collections.abc import Sequence

from overwinter.tasks.measure import Measure
from overwinter.training.result import EpochRecord

_EPOCHS = 2  # looked back: one alone says little, as validation figures go up and down


def marginal_return(history: Sequence[EpochRecord], measure: Measure) -> float | None:
    """Return by how much a measure got better per kilojoule over the last two epochs; less than 0 if it got worse.

    Args:
        history: records of the epochs so far, with the joules spent until then.
        measure: one of the task's.

    Returns:
        None: there are no two epochs to compare with the one before, or the joules are not known.
    """
    if len(history) <= _EPOCHS:
        return None
    before, now = history[-1 - _EPOCHS], history[-1]
    if before.spent_j is None or now.spent_j is None or now.spent_j <= before.spent_j:
        return None
    change = now.measures[measure.name] - before.measures[measure.name]
    return (change if measure.higher_is_better else -change) / ((now.spent_j - before.spent_j) / 1000)
