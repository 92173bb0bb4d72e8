"""The largest amount that the limit of quality allows, by bisection: each trial makes and measures a whole model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from overwinter.errors import RefusedError
from overwinter.sparsity.settings import AmountSearch
from overwinter.tasks import Measure

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Trial(Generic[Made]):
    """One amount, tried.

    Attributes:
        amount: share removed, 0 to 1.
        quality_loss: of the headline measure, against dense; see `overwinter.tasks.Measure.loss`.
        energy_j: that making and measuring the model took.
        made: the model, with what belongs to it.
    """

    amount: float
    quality_loss: float
    energy_j: float
    made: Made

    def to_json(self) -> dict[str, float]:
        """Return the numbers."""
        return {"amount": self.amount, "quality_loss": self.quality_loss, "energy_j": self.energy_j}


def find_largest(
    attempt: Callable[[float], Trial[Made]], search: AmountSearch, headline: Measure
) -> tuple[Trial[Made], list[dict[str, float]]]:
    """Return the trial of the largest amount within the limit, and the numbers of all trials in order.

    The most is tried first, then the least, then what halves the interval between the largest that is within the limit
    and the smallest that is not. Of the models only the best is kept in memory.

    Args:
        attempt: amount -> its trial.
        search: the amounts, the limit and the number of trials.
        headline: the measure, to say what a loss is.

    Raises:
        RefusedError: even the least amount costs more.
    """
    best = attempt(search.most)
    tried = [best.to_json()]
    if best.quality_loss <= search.max_quality_loss:
        return best, tried
    best = attempt(search.least)
    tried.append(best.to_json())
    if best.quality_loss > search.max_quality_loss:
        raise RefusedError(
            f"Even removing {search.least:.1%} of the weights costs {headline.describe_loss(best.quality_loss)} of "
            f"{headline.title}, and sparsify.max_quality_loss allows "
            f"{headline.describe_loss(search.max_quality_loss)}.\n"
            "Raise it, lower sparsify.min_amount, or let the model recover: sparsify.recovery.method=distill."
        )
    low, high = search.least, search.most
    while len(tried) < search.trials:
        middle = attempt((low + high) / 2)
        tried.append(middle.to_json())
        if middle.quality_loss <= search.max_quality_loss:
            best, low = middle, middle.amount
        else:
            high = middle.amount
    return best, tried
