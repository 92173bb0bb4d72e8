"""Advice: what cost joules and gained nothing, and what to try next, with the expected saving and why.

Only what the records say is said: where they do not tell how much would be saved, no figure stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from overwinter.ledger import Total
from overwinter.models.given import GIVEN
from overwinter.report.page.content import (
    Advice,
    Candidate,
    CurvePoint,
    LedgerFigures,
    Payback,
    PowerSample,
    Responses,
    StageFigures,
    SweepFigures,
)
from overwinter.tasks import Measure
from overwinter.units import format_si

_LEAST_SHARE = 0.05  # of a saving that is worth a line
_BEFORE = {"dense": "the dense model", **dict.fromkeys(GIVEN, "the file that the model came in")}
_J_PER_KWH = 3.6e6
_EPOCHS = {"train": "train.epochs", "sparsify": "sparsify.fit.epochs"}  # the default stages' settings


def advise(
    stages: Sequence[StageFigures],
    curves: Sequence[CurvePoint],
    headline: Measure | None,
    responses: Responses | None,
    payback: Payback | None,
    sweep: SweepFigures | None,
    ledger: LedgerFigures | None,
    power: Sequence[PowerSample] = (),
) -> tuple[Advice, ...]:
    """Return the advice, the largest expected share first; what has no figure comes last."""
    found = [*_plateaus(stages, curves, headline)]
    if responses is not None:
        found += [*_compression(stages, responses, payback), *_batches(responses), *_limits(responses)]
        found += _runtimes(stages, responses)
        found += _swept(responses, sweep, headline)
    if ledger is not None:
        found += _wasted(ledger)
    found += _cleaner_hours(stages, power)
    found += _unmeasured(stages)
    return tuple(sorted(found, key=lambda each: -1.0 if each.share is None else -2.0 - each.share))


def _plateaus(
    stages: Sequence[StageFigures], curves: Sequence[CurvePoint], headline: Measure | None
) -> Iterator[Advice]:
    """Find stages that went on after their model was at its best on the validation split."""
    if headline is None:
        return
    whole_j = sum(stage.energy_j or 0.0 for stage in stages)
    figure, sign = f"validation_{headline.name}", 1.0 if headline.higher_is_better else -1.0
    for stage in stages:
        points = [each for each in curves if each.stage == stage.stage and figure in each.figures]
        if len(points) < 2 or not stage.energy_j:
            continue
        best = max(points, key=lambda each: sign * each.figures[figure])  # the first of equals
        saves_j = points[-1].energy_j - best.energy_j
        if saves_j / stage.energy_j < _LEAST_SHARE:
            continue
        epochs = best.figures.get("epoch")
        setting = _EPOCHS.get(stage.stage)
        command = f"overwinter run {setting}={max(1, round(epochs))}" if setting and epochs is not None else None
        yield Advice(
            title=f"{stage.stage}: stop earlier",
            why=f"{headline.describe_named(best.figures[figure])} on validation was reached after "
            f"{format_si(best.energy_j, 'J')}; the {format_si(saves_j, 'J')} after that improved it no further. "
            "A schedule made for fewer epochs learns otherwise, so compare the results (`overwinter compare`).",
            saves=f"up to {format_si(saves_j, 'J')} of {format_si(stage.energy_j, 'J')}",
            share=saves_j / whole_j,
            of="the joules of the pipeline",
            command=command,
        )


def _compression(stages: Sequence[StageFigures], responses: Responses, payback: Payback | None) -> Iterator[Advice]:
    """Find stages that compressed for nothing."""
    chosen = next((each for each in responses.candidates if each.role == "chosen"), None)
    served = "dense" if chosen is None else _variant(chosen)
    kept = served in _BEFORE
    energies = {stage.stage: stage.energy_j or 0.0 for stage in stages}
    total_j = sum(energies.values())
    names = payback.stages if payback is not None else ()
    spent_j = sum(energies[name] for name in names)
    if kept and spent_j and total_j:
        yield Advice(
            title=f"{' and '.join(names)} gained nothing: {_BEFORE[served]} is served",
            why="No compressed variant used fewer joules per response within the limits on quality.",
            saves=f"{format_si(spent_j, 'J')} of {format_si(total_j, 'J')}",
            share=spent_j / total_j,
            of="the joules of the pipeline",
            command=f"overwinter run {' '.join(f'{name}=none' for name in names)}",
        )
    elif chosen is not None and _variant(chosen) == "sparse" and energies.get("quantize") and total_j:
        yield Advice(
            title="quantize gained nothing: a variant that is only sparse is served",
            why=f"{chosen.name} uses the fewest joules per response within the limits on quality.",
            saves=f"{format_si(energies['quantize'], 'J')} of {format_si(total_j, 'J')}",
            share=energies["quantize"] / total_j,
            of="the joules of the pipeline",
            command="overwinter run quantize=none",
        )
    if not kept and payback is not None and payback.responses is None:
        yield Advice(
            title="Compression is never paid back",
            why=f"{format_si(payback.spent_j, 'J')} were spent, and a response got no cheaper.",
        )


def _batches(responses: Responses) -> Iterator[Advice]:
    chosen = next((each for each in responses.candidates if each.role == "chosen"), None)
    by_size = {int(size): energy_j for size, energy_j in chosen.at_batch.items()} if chosen is not None else {}
    if len(by_size) < 2:
        return
    one, best = min(by_size), min(by_size, key=lambda size: by_size[size])
    share = 1 - by_size[best] / by_size[one]
    if best != one and share >= _LEAST_SHARE:
        yield Advice(
            title=f"Ask for {best} responses at once where a request can wait",
            why=f"One by one, a response costs {format_si(by_size[one], 'J')}; in batches of {best}, "
            f"{format_si(by_size[best], 'J')}.",
            saves=f"{format_si(by_size[one] - by_size[best], 'J')} per response",
            share=share,
            of="what it costs",
        )


def _limits(responses: Responses) -> Iterator[Advice]:
    """Find the cheapest candidate that only a limit on quality kept from being chosen."""
    chosen = next((each for each in responses.candidates if each.role == "chosen"), None)
    refused = [each for each in responses.candidates if each.broken_limits]
    if chosen is None or not refused:
        return
    cheapest = min(refused, key=lambda each: each.energy_per_response_high_j)
    share = 1 - cheapest.energy_per_response_j / chosen.energy_per_response_j
    if cheapest.energy_per_response_high_j < chosen.energy_per_response_low_j and share >= _LEAST_SHARE:
        yield Advice(
            title=f"{cheapest.name} would use fewer joules, but breaks a limit on quality",
            why=f"It breaks {', '.join(cheapest.broken_limits)}. Loosen the limit if the loss does not matter, or "
            "recover the quality with more training.",
            saves=f"{format_si(chosen.energy_per_response_j - cheapest.energy_per_response_j, 'J')} per response",
            share=share,
            of="what it costs",
        )


def _runtimes(stages: Sequence[StageFigures], responses: Responses) -> Iterator[Advice]:
    """Find runtimes that lost with every variant, beyond the intervals, at every batch size."""
    variants: dict[str, dict[str, Candidate]] = {}
    for each in responses.candidates:
        variants.setdefault(_variant(each), {})[_runtime(each)] = each
    runtimes = {_runtime(each): None for each in responses.candidates}
    for runtime in runtimes:
        own = {variant: found for variant, found in variants.items() if runtime in found}
        beaten = all(any(_beats(other, found[runtime]) for other in found.values()) for found in own.values())
        energy_j = sum(stage.energy_j or 0.0 for stage in stages if stage.stage == "evaluate")
        if beaten and energy_j:
            others = ",".join(each for each in runtimes if each != runtime)
            yield Advice(
                title=f"Leave {runtime} out of the evaluation",
                why=f"With {_listed(list(own))}, another runtime used fewer joules per response than {runtime}, beyond "
                f"both intervals and at every batch size. evaluate cost {format_si(energy_j, 'J')}; the records do "
                f"not tell how much of it was for {runtime}.",
                command=f"overwinter run 'evaluate.runtimes=[{others}]'",
            )


def _swept(responses: Responses, sweep: SweepFigures | None, headline: Measure | None) -> Iterator[Advice]:
    chosen = next((each for each in responses.candidates if each.role == "chosen"), None)
    if sweep is None or chosen is None or chosen.quality is None:
        return
    sign = -1.0 if headline is not None and not headline.higher_is_better else 1.0
    better = [
        (each.energy_per_response_j, each)
        for each in sweep.points
        if each.quality is not None
        and each.energy_per_response_j is not None
        and sign * each.quality >= sign * chosen.quality
        and each.energy_per_response_j < chosen.energy_per_response_low_j
    ]
    if not better:
        return
    energy_j, point = min(better, key=lambda each: each[0])
    share = 1 - energy_j / chosen.energy_per_response_j
    if share >= _LEAST_SHARE:
        yield Advice(
            title=f"Point {point.name} of the sweep {sweep.name} uses fewer joules at no less quality",
            why=f"{point.settings or 'Its settings'}: {format_si(energy_j, 'J')} per response, now "
            f"{format_si(chosen.energy_per_response_j, 'J')}.",
            saves=f"{format_si(chosen.energy_per_response_j - energy_j, 'J')} per response",
            share=share,
            of="what it costs",
            command=f"overwinter run --from-sweep {sweep.name} --pick {point.name}",
        )


def _wasted(ledger: LedgerFigures) -> Iterator[Advice]:
    lost, whole_j = ledger.wasted, ledger.total.energy_j
    if not whole_j or lost.energy_j / whole_j < _LEAST_SHARE:
        return
    most = ledger.wasted_by[0]
    yield Advice(
        title=f"{format_si(lost.energy_j, 'J')} were spent on results that nothing uses",
        why=f"That is {100 * lost.energy_j / whole_j:.0f} % of all joules in the ledger. "
        f"The largest part: {_described(most)}.",
        saves=None,
        command="overwinter ledger --wasted",
    )


def _described(part: Total) -> str:
    times = f"{part.executions} execution{'' if part.executions == 1 else 's'}"
    return f"{times} of {part.name} ({format_si(part.energy_j, 'J')})"


def _cleaner_hours(stages: Sequence[StageFigures], power: Sequence[PowerSample]) -> Iterator[Advice]:
    """Compare with the lowest carbon intensity while the stages ran."""
    seen = [each.intensity_g_per_kwh for each in power if each.intensity_g_per_kwh is not None]
    grams = sum(stage.carbon_g or 0.0 for stage in stages)
    energy_j = sum(stage.energy_j or 0.0 for stage in stages if stage.carbon_g is not None)
    if not seen or not grams:
        return
    saves_g = grams - energy_j / _J_PER_KWH * min(seen)
    if saves_g / grams >= _LEAST_SHARE:
        yield Advice(
            title="Run while the grid is cleaner",
            why=f"The carbon intensity was between {min(seen):.0f} and {max(seen):.0f} g/kWh while the stages ran. At "
            "the lowest, the same joules would have emitted less; `power=carbon_aware` waits for such hours.",
            saves=f"up to {format_si(saves_g, 'gCO2e')} of {format_si(grams, 'gCO2e')}",
            share=saves_g / grams,
            of="the carbon, and no joules",
            command="overwinter run power=carbon_aware",
        )


def _unmeasured(stages: Sequence[StageFigures]) -> Iterator[Advice]:
    energy_j = sum(stage.energy_j or 0.0 for stage in stages)
    modelled_j = sum((stage.energy_j or 0.0) * (1 - (stage.measured_fraction or 0.0)) for stage in stages)
    if energy_j and modelled_j / energy_j >= _LEAST_SHARE:
        yield Advice(
            title="Let a counter measure the joules",
            why=f"{100 * modelled_j / energy_j:.0f} % of the joules are modelled. This saves nothing, but a figure of "
            "a counter is more certain; the command says what is missing.",
            command="overwinter doctor",
        )


def _beats(other: Candidate, this: Candidate) -> bool:
    if other.energy_per_response_high_j >= this.energy_per_response_low_j:
        return False
    return all(other.at_batch.get(size, 0.0) < energy_j for size, energy_j in this.at_batch.items())


def _variant(candidate: Candidate) -> str:
    return candidate.name.partition("@")[0]


def _runtime(candidate: Candidate) -> str:
    return candidate.name.partition("@")[2]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
