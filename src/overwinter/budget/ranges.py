"""A forecast figure as a range, and the prediction range from similar executions."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, kw_only=True)
class Range:
    """A forecast figure: the median, and a prediction range."""

    low: float
    expected: float
    high: float

    def scaled(self, factor: float) -> Range:
        """Return the range in another unit."""
        return Range(low=self.low * factor, expected=self.expected * factor, high=self.high * factor)

    def widened(self, half: float) -> Range:
        """Return the range with both ends further away by a factor of exp(``half``)."""
        return Range(low=self.low * math.exp(-half), expected=self.expected, high=self.high * math.exp(half))


def prediction_range(values: list[float], floor: float) -> Range | None:
    """Return the robust prediction range of positive values; of zeros, zero; of none, None."""
    if not values:
        return None
    if min(values) <= 0:
        return Range(low=0.0, expected=statistics.median(values), high=max(values) * (1 + floor))
    logs = [math.log(value) for value in values]
    middle, count = statistics.median(logs), len(logs)
    deviation = _MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in logs)
    # Two sigma for many executions. For few, the deviation itself is uncertain, and may be small by chance: with these
    # factors, nine in ten later executions fall into the range for any number of earlier ones, if they scatter by 15 %.
    from_history = 2 * (1 + 4 / count) * deviation * math.sqrt(1 + 1 / count)
    half = max(math.log1p(floor) * (1 + 3 / count), from_history)
    return Range(low=math.exp(middle - half), expected=math.exp(middle), high=math.exp(middle + half))
