"""The result of a comparison, as `--json` prints it."""

from __future__ import annotations

from dataclasses import dataclass

BEYOND = "beyond the noise"
WITHIN = "within the noise"
EQUAL = "equal"
SAME = "same measurement"
INCOMPARABLE = "not comparable"
UNKNOWN = "no interval"
MISSING = "missing"

HOLDS = "holds"
FAILS = "fails"
NOT_JUDGED = "not judged"

SCHEMA = 1
LOWER = "lower"
HIGHER = "higher"


@dataclass(frozen=True, kw_only=True)
class FigureChange:
    """One figure of both sides, and the verdict on its change. None means unknown.

    Attributes:
        name: Its name, as `--fail-if` takes it: `energy_per_response`, `production_energy.train`, `accuracy`.
        unit: `J`, `s`, `B`; `share` of a whole; the measure's own unit, or empty.
        better: `lower` or `higher`; None if the direction is not known.
        a: The figure of A.
        a_low: Lower bound of its 95 % interval.
        a_high: Upper bound of its 95 % interval.
        b: The figure of B.
        b_low: Lower bound of its 95 % interval.
        b_high: Upper bound of its 95 % interval.
        difference: B's figure minus A's.
        difference_low: Lower bound of the 95 % interval of the difference.
        difference_high: Upper bound of the 95 % interval of the difference.
        relative: The difference as a share of A's figure.
        relative_low: Lower bound of the 95 % interval of the relative difference.
        relative_high: Upper bound of the 95 % interval of the relative difference.
        verdict: `beyond the noise`, `within the noise`, `equal`, `same measurement` (both are one execution), `not
            comparable`, `no interval`, or `missing` in A or B.
        basis: What the verdict rests on, or why there is none.
    """

    name: str
    unit: str
    better: str | None = None
    a: float | None = None
    a_low: float | None = None
    a_high: float | None = None
    b: float | None = None
    b_low: float | None = None
    b_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    verdict: str
    basis: str = ""

    @property
    def is_worse(self) -> bool | None:
        """Whether B is worse; None if that is not known, or nothing changed."""
        if not self.difference or self.better is None:
            return None
        return (self.difference > 0) == (self.better == LOWER)


@dataclass(frozen=True, kw_only=True)
class LimitVerdict:
    """The judgement of one `--fail-if`.

    Attributes:
        expression: The expression as given.
        status: `holds`, `fails`, or `not judged`, because a figure is missing or cannot be compared.
        message: The figures and the reason, in words.
    """

    expression: str
    status: str
    message: str


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """A comparison of two runs.

    Attributes:
        schema: The version of this record.
        a: What A is, such as `main (1a2b3c4)`.
        b: What B is.
        parameters: The changed parameters, such as `train.epochs: 16 -> 8`.
        parameters_known: Whether both sides' parameters are known.
        a_chosen: VARIANT@RUNTIME that A serves.
        b_chosen: VARIANT@RUNTIME that B serves.
        figures: The figures.
        notes: What to know when reading them.
        limits: The judgements of `--fail-if`.
    """

    schema: int = SCHEMA
    a: str
    b: str
    parameters: tuple[str, ...] = ()
    parameters_known: bool = True
    a_chosen: str | None = None
    b_chosen: str | None = None
    figures: tuple[FigureChange, ...]
    notes: tuple[str, ...] = ()
    limits: tuple[LimitVerdict, ...] = ()
