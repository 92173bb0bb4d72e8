"""The joules to produce the outputs of each stage, and in total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from overwinter.comparison.contents import Side
from overwinter.comparison.figures import bare, between, incomparable, same, with_interval
from overwinter.comparison.metering import metered_apart
from overwinter.comparison.noise import Noises
from overwinter.comparison.records import INCOMPARABLE, LOWER, MISSING, SAME, FigureChange
from overwinter.comparison.statistics import Estimate, Noise, widened
from overwinter.energy import EnergyRecord

PRODUCTION = "production_energy"
ASSUMED = Noise(deviation=0.25, freedom=1_000_000, repeats=0)
"""Noise of the joules to produce where the ledger has no repetitions: that of a busy machine, as measured in
docs/compare.md."""


def production_changes(a: Side, b: Side, noises: Noises) -> tuple[list[FigureChange], list[str]]:
    """Return the change of each stage's joules and of the total, and notes.

    A stage that one side's pipeline has, but that has not run there, is left out of the total.
    """
    stages = [*b.energy, *(stage for stage in a.energy if stage not in b.energy)]
    changes = {stage: _stage_change(stage, a, b, noises) for stage in stages}
    absent = [stage for stage in stages if _has_not_run(stage, a) or _has_not_run(stage, b)]
    notes = [f"{PRODUCTION} leaves out {', '.join(absent)}, which only one side has run"] if absent else []
    counted = [change for stage, change in changes.items() if stage not in absent]
    return [*([_total(counted)] if counted else []), *changes.values()], notes


def _has_not_run(stage: str, side: Side) -> bool:
    planned = side.setting("pipeline.stages")
    return stage not in side.energy and (not isinstance(planned, dict) or stage in planned)


def _stage_change(stage: str, a: Side, b: Side, noises: Noises) -> FigureChange:
    one, two = a.energy.get(stage), b.energy.get(stage)
    noise, basis = _noise(stage, noises)
    figures = (None if each is None else each.energy_j for each in (one, two))
    change = bare(f"{PRODUCTION}.{stage}", "J", *figures, better=LOWER, basis=basis)
    if one is None or two is None:
        return _one_sided(change, one or two, noise, repeated=stage in noises.production)
    if one.execution is not None and one.execution == two.execution:
        return same(change)
    if reason := metered_apart(a, b, stage):
        return incomparable(change, reason)
    repeated = stage in noises.production
    return between(change, *(_estimate(each, noise, repeated=repeated) for each in (one, two)), ratio=True)


def _one_sided(change: FigureChange, record: EnergyRecord | None, noise: Noise, *, repeated: bool) -> FigureChange:
    """Return the change of a stage that one side lacks, with the bounds of the other's joules."""
    if record is None:
        return change
    known = _estimate(record, noise, repeated=repeated)
    if change.a is None:
        return replace(change, b_low=known.low, b_high=known.high)
    return replace(change, a_low=known.low, a_high=known.high)


def _noise(stage: str, noises: Noises) -> tuple[Noise, str]:
    """Return the noise of a stage's joules, and where it is from."""
    own, any_stage = noises.production.get(stage), noises.any_production
    if own is not None:
        return own, f"the spread of {own.repeats} repetitions in the ledger, {100 * own.deviation:.1f} % each"
    wider = "or the meter's uncertainty where that is wider, in quadrature"
    if any_stage is not None:
        spread = f"{100 * any_stage.deviation:.0f} % each"
        return any_stage, f"no repetitions in the ledger, so the spread of other stages', {spread}, {wider}"
    return (
        ASSUMED,
        f"no repetitions in the ledger, so {100 * ASSUMED.deviation:.0f} % each as on a busy machine, {wider}",
    )


def _estimate(record: EnergyRecord, noise: Noise, *, repeated: bool) -> Estimate:
    """Return the joules with their interval.

    The same meter has the same error in both runs, which cancels. Where the stage was not repeated, it counts all the
    same: the interval has to cover whatever else differs between two single runs.
    """
    joules = record.energy_j
    uncertainty_j = 0.0 if repeated else record.uncertainty_j
    own = Estimate(value=joules, low=joules - uncertainty_j, high=joules + uncertainty_j)
    return widened(own, noise) if joules > 0 else own


def _total(changes: Sequence[FigureChange]) -> FigureChange:
    """Return the sum of the stages; one that a side's pipeline does not have costs nothing there.

    Half-widths add up linearly, which holds however the errors of stages depend on each other: a busy machine makes
    all of them cost more.
    """
    a, b = (sum(each or 0.0 for each in side) for side in ([c.a for c in changes], [c.b for c in changes]))
    total = bare(PRODUCTION, "J", a, b, better=LOWER, basis="the sum of the stages' intervals")
    if all(each.verdict == SAME for each in changes):
        return same(total)
    for each in changes:
        if each.verdict == INCOMPARABLE:
            return incomparable(total, f"{each.name.removeprefix(f'{PRODUCTION}.')}: {each.basis}")
    below = sum(_deviation(each, each.difference_low, -1) for each in changes)
    above = sum(_deviation(each, each.difference_high, 1) for each in changes)
    low, high = (total.difference or 0.0) - below, (total.difference or 0.0) + above
    return with_interval(total, (low, high), (low / a, high / a) if a else None)


def _deviation(change: FigureChange, end: float | None, direction: int) -> float:
    """Return how far the difference may be off, above (direction 1) or below (-1)."""
    if change.verdict != MISSING:
        return 0.0 if end is None or change.difference is None else direction * (end - change.difference)
    if change.b is not None:  # the whole stage is the difference: its own bounds count
        return _distance(change.b, change.b_high if direction > 0 else change.b_low)
    return _distance(change.a, change.a_low if direction > 0 else change.a_high)


def _distance(value: float | None, end: float | None) -> float:
    return 0.0 if value is None or end is None else abs(end - value)
