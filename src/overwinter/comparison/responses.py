"""Responses of the chosen variants: joules, latency and size."""

from __future__ import annotations

from overwinter.comparison.contents import Side
from overwinter.comparison.figures import bare, between, exact, incomparable, same
from overwinter.comparison.metering import metered_apart
from overwinter.comparison.noise import ENERGY, LATENCY, Noises
from overwinter.comparison.records import BEYOND, LOWER, FigureChange
from overwinter.comparison.statistics import Estimate, Noise, estimate, widened
from overwinter.metrics import CandidateMetrics

ENERGY_PER_RESPONSE, LATENCY_NAME, SIZE = "energy_per_response", "latency", "size"
ASSUMED = Noise(deviation=0.04, freedom=1_000_000, repeats=0)
"""Noise of joules per response where the ledger has no repetitions; docs/compare.md has the measurement."""
FEWEST_SAMPLES = 3
"""Samples without which joules per response have no interval; an older version's number is taken to be enough."""
_DEFAULT_CONFIDENCE = 0.95


def responses(a: Side, b: Side, noises: Noises) -> list[FigureChange]:
    """Return joules per response, latency and size of the chosen variants."""
    if a.evaluation is None and b.evaluation is None:
        return [exact(SIZE, "B", *(_model_size(side) for side in (a, b)), better=LOWER, basis="of the last model")]
    one, two = (side.evaluation.chosen if side.evaluation else None for side in (a, b))
    names = [each.name for each in (one, two) if each is not None]
    noise = noises.response(ENERGY, *names)
    energy = _response(ENERGY_PER_RESPONSE, "J", ENERGY, one, two, basis=_energy_basis(one, two, noise))
    energy = between(energy, *(_energy_estimate(side, each, noise) for side, each in ((a, one), (b, two))), ratio=True)
    latency = _latency(one, two, noises.response(LATENCY, *names))
    size = exact(SIZE, "B", *_each(one, two, "size_bytes"), better=LOWER, basis="exact")
    if is_one_execution(a, b):
        return [same(each) for each in (energy, latency, size)]
    reason = _measured_apart(a, b)
    timed = [incomparable(each, reason) for each in (energy, latency)] if reason else [energy, latency]
    return [*timed, size]


def _response(
    name: str, unit: str, key: str, a: CandidateMetrics | None, b: CandidateMetrics | None, *, basis: str
) -> FigureChange:
    return bare(name, unit, *_each(a, b, key), better=LOWER, basis=basis)


def _each(a: CandidateMetrics | None, b: CandidateMetrics | None, key: str) -> list[float | None]:
    return [None if each is None else getattr(each, key) for each in (a, b)]


def _model_size(side: Side) -> float | None:
    sizes = [each.size_bytes for each in side.models.values() if each.size_bytes is not None]
    return sizes[-1] if sizes else None


def _energy_basis(a: CandidateMetrics | None, b: CandidateMetrics | None, noise: Noise | None) -> str:
    counts = [(side, _samples(each)) for side, each in (("A", a), ("B", b)) if each is not None]
    few = " and ".join(f"{side} has {count}" for side, count in counts if count < FEWEST_SAMPLES)
    if few:
        needed = f"an interval needs {FEWEST_SAMPLES} samples without much disturbance"
        return f"{needed}, of which {few}: raise evaluate.repeats"
    own = "the intervals of both runs' own samples, at least as wide as repetitions: "
    if noise is None:
        return f"{own}{100 * ASSUMED.deviation:g} % each are assumed, the ledger has none"
    return f"{own}{100 * noise.deviation:.1f} % each, of {noise.repeats} in the ledger"


def _energy_estimate(side: Side, candidate: CandidateMetrics | None, noise: Noise | None) -> Estimate | None:
    if candidate is None:
        return None
    samples = _samples(candidate)
    if samples < FEWEST_SAMPLES:
        return None  # their interval says nothing
    own = estimate(
        candidate.energy_per_response_j,
        candidate.energy_per_response_low_j,
        candidate.energy_per_response_high_j,
        confidence=confidence(side),
        samples=samples,
    )
    return None if own is None else widened(own, noise or ASSUMED, independent=noise is None)


def _samples(candidate: CandidateMetrics) -> int:
    return FEWEST_SAMPLES if candidate.samples is None else candidate.samples


def _latency(a: CandidateMetrics | None, b: CandidateMetrics | None, noise: Noise | None) -> FigureChange:
    basis = "no interval is stored, and the ledger has no repetitions of the evaluation"
    if noise is not None:
        basis = f"the spread of {noise.repeats} repetitions in the ledger, {100 * noise.deviation:.1f} % each"
    change = _response(LATENCY_NAME, "s", LATENCY, a, b, basis=basis)
    if noise is None or a is None or b is None:
        return change
    bounds = (widened(Estimate(value=v, low=v, high=v), noise) for v in (a.latency_p50_s, b.latency_p50_s))
    return between(change, *bounds, ratio=True)


def drift(a: Side, b: Side, noises: Noises) -> str | None:
    """Return a note if the dense model, of the same shape on the same runtime, costs more or less than it did."""
    if not a.evaluation or not b.evaluation or is_one_execution(a, b) or _measured_apart(a, b):
        return None
    if any(a.setting(key) != b.setting(key) for key in ("model", "data", "evaluate", "device")):
        return None
    one, two = a.evaluation.dense, b.evaluation.dense
    if one.name != two.name or one.size_bytes != two.size_bytes:
        return None
    noise = noises.response(ENERGY, one.name)
    change = _response(ENERGY_PER_RESPONSE, "J", ENERGY, one, two, basis="")
    change = between(change, *(_energy_estimate(side, each, noise) for side, each in ((a, one), (b, two))), ratio=True)
    if change.verdict != BEYOND or change.relative is None:
        return None
    return (
        f"the dense model, which is of the same shape in both, uses {100 * change.relative:+.0f} % joules per response "
        "in B: the machine was in another state, so measure both again before you trust a small change of joules"
    )


def confidence(side: Side) -> float:
    """Return the confidence level of the intervals that a side's evaluation stored."""
    found = side.setting("evaluate.confidence")
    return float(found) if isinstance(found, int | float) and 0 < found < 1 else _DEFAULT_CONFIDENCE


def is_one_execution(a: Side, b: Side) -> bool:
    """Return whether both sides have the figures of the same execution of the evaluation."""
    records = [side.energy.get(side.evaluation_stage or "") for side in (a, b)]
    ids = [None if each is None else each.execution for each in records]
    return ids[0] is not None and ids[0] == ids[1]


def _measured_apart(a: Side, b: Side) -> str | None:
    """Return why joules and seconds per response cannot be compared; None if they can."""
    one, two = a.evaluation, b.evaluation
    if one is None or two is None or a.evaluation_stage is None:
        return None
    if one.chosen.measured != two.chosen.measured:
        sides = ("A's", "B's") if one.chosen.measured else ("B's", "A's")
        return f"{sides[0]} joules are measured by counters, {sides[1]} are modelled"
    if one.device != two.device:
        return f"A was measured on {one.device}, B on {two.device}"
    if one.batch_size != two.batch_size:
        return f"A was measured at batch size {one.batch_size}, B at {two.batch_size}"
    return metered_apart(a, b, a.evaluation_stage, b.evaluation_stage)
