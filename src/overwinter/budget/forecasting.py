"""What a stage will cost, from the ledger's history.

The middle is the median and the spread the median absolute deviation, both of logarithms (costs are ratios;
one run beside a busy neighbour must not move the forecast). The range widens with few executions (a normal
prediction interval's sqrt(1 + 1/n), with a heavier factor for small n), and never falls below a floor that
says how alike the executions are at best.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.ledger import ExecutionRecord

_J_PER_KWH = 3.6e6
# Executions further back were made by another version of the machine, the libraries or the code.
_LATEST = 20
# An unfinished execution tells something from this share of its work on.
_LEAST_SHARE = 0.1
# Half widths of the range, as a ratio, when many executions agree with one another.
_FLOORS = {"exact": 0.10, "unfinished": 0.25, "scaled": 0.40}
_OTHER_HOST = 0.50
_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, kw_only=True)
class Range:
    """A figure that is not known yet: the median, and what it will hardly leave."""

    low: float
    expected: float
    high: float

    def scaled(self, factor: float) -> Range:
        """Return the range in another unit."""
        return Range(low=self.low * factor, expected=self.expected * factor, high=self.high * factor)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one whole execution of a stage will cost.

    Attributes:
        stage: its name.
        basis: `exact` (done executions of this very configuration), `unfinished` (its stopped ones,
            extrapolated), `scaled` (other configurations of the stage, by their declared work), or `unknown`.
        executions: how many it rests on.
        energy_j: joules; None if unknown.
        carbon_g: grams; None if unknown.
        duration_s: seconds; None if unknown.
    """

    stage: str
    basis: str
    executions: int = 0
    energy_j: Range | None = None
    carbon_g: Range | None = None
    duration_s: Range | None = None


def forecast(
    records: Sequence[ExecutionRecord],
    *,
    stage: str,
    configuration_key: str | None,
    work: float | None = None,
    host: str | None = None,
    intensity_g_per_kwh: float | None = None,
) -> Forecast:
    """Forecast one stage.

    Args:
        records: the ledger's executions, oldest first; those of other stages are ignored.
        stage: the stage.
        configuration_key: of what would run; None where it depends on results that are not there yet.
        work: its declared amount of work, such as epochs x samples; None if it declares none.
        host: the machine it would run on. Its own executions are preferred to others'.
        intensity_g_per_kwh: of the electricity; without it, grams come from the history.
    """
    own = [record for record in records if record.stage == stage and record.energy_j is not None]
    same = [record for record in own if record.configuration_key == configuration_key]
    candidates: list[tuple[str, list[ExecutionRecord], Callable[[ExecutionRecord], float]]] = [
        ("exact", [each for each in same if each.status == "done"], lambda _: 1.0),
        (
            "unfinished",
            [each for each in same if _share_done(each) >= _LEAST_SHARE],
            lambda each: 1 / _share_done(each),
        ),
    ]
    if work:
        like = [each for each in own if each.status == "done" and each.work]
        candidates.append(("scaled", like, lambda each: work / (each.work or work)))
    for basis, chosen, factor in candidates:
        if chosen:
            return _from(stage, basis, chosen, factor, host, intensity_g_per_kwh)
    return Forecast(stage=stage, basis="unknown")


def _from(
    stage: str,
    basis: str,
    records: list[ExecutionRecord],
    factor: Callable[[ExecutionRecord], float],
    host: str | None,
    intensity_g_per_kwh: float | None,
) -> Forecast:
    at_home = [record for record in records if host is None or record.host == host]
    latest = (at_home or records)[-_LATEST:]
    floor = _FLOORS[basis] + (0.0 if at_home else _OTHER_HOST)
    energy_j = _range([((each.energy_j or 0.0) + each.resumed_j) * factor(each) for each in latest], floor)
    weighed = [each for each in latest if each.carbon_g is not None]
    carbon_g = _range([((each.carbon_g or 0.0) + each.resumed_carbon_g) * factor(each) for each in weighed], floor)
    if intensity_g_per_kwh is not None and energy_j is not None:
        carbon_g = energy_j.scaled(intensity_g_per_kwh / _J_PER_KWH)
    timed = [each for each in latest if each.duration_s is not None]
    return Forecast(
        stage=stage,
        basis=basis,
        executions=len(latest),
        energy_j=energy_j,
        carbon_g=carbon_g,
        duration_s=_range(
            [((each.duration_s or 0.0) + each.resumed_duration_s) * factor(each) for each in timed], floor
        ),
    )


def _share_done(record: ExecutionRecord) -> float:
    if record.status in ("running", "done") or not record.done or not record.total:
        return 0.0
    return min(1.0, record.done / record.total)


def _range(values: list[float], floor: float) -> Range | None:
    """Return the robust prediction range of positive values; of zeros, zero; of none, None."""
    if not values:
        return None
    if min(values) <= 0:
        return Range(low=0.0, expected=statistics.median(values), high=max(values) * (1 + floor))
    logs = [math.log(value) for value in values]
    middle, count = statistics.median(logs), len(logs)
    deviation = _MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in logs)
    # Two sigma for many. Of a few, the deviation itself is uncertain, and may be small by chance: the factors
    # make nine in ten coming executions fall into the range from any number of earlier ones, if they scatter
    # by 15 %.
    from_history = 2 * (1 + 4 / count) * deviation * math.sqrt(1 + 1 / count)
    half = max(math.log1p(floor) * (1 + 3 / count), from_history)
    return Range(low=math.exp(middle - half), expected=math.exp(middle), high=math.exp(middle + half))
