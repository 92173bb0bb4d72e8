"""What a gate, an admission or a plan says, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One limit, and what was held against it.

    Attributes:
        limit: the configuration key of the limit.
        value: what was found, in `unit`; None where it is not known.
        allowed: what is allowed, in `unit`.
        unit: `J`, `gCO2e`, `s`, a currency, `answers`, or `1` for a share.
        ok: the limit holds.
        binding: if it does not hold, the pipeline stops.
        message: the same in words, with what to do if it does not hold.
    """

    limit: str
    value: float | None
    allowed: float
    unit: str
    ok: bool
    binding: bool
    message: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to whether the pipeline may go on.

    Attributes:
        stage: after which (or, of a plan, before which) it is given.
        passed: no binding limit is broken.
        reasons: every limit that was looked at.
        warnings: what the user should know anyway.
        modelled: the joules were mostly modelled, not measured.
        mode: of the budget.
    """

    stage: str
    passed: bool
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    modelled: bool
    mode: str

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON's types."""
        return {
            "stage": self.stage,
            "passed": self.passed,
            "mode": self.mode,
            "modelled": self.modelled,
            "reasons": [asdict(reason) for reason in self.reasons],
            "warnings": list(self.warnings),
        }

    def refusal(self) -> str:
        """Return the broken limits as one message, for `RefusedError`; empty after a pass."""
        return "\n".join(reason.message for reason in self.reasons if reason.binding and not reason.ok)


def verdict(stage: str, reasons: list[Reason], *, warnings: list[str], modelled: bool, mode: str) -> Verdict:
    """Put reasons together; a broken limit that does not bind becomes a warning."""
    let_through = [reason.message for reason in reasons if not reason.ok and not reason.binding]
    return Verdict(
        stage=stage,
        passed=all(reason.ok or not reason.binding for reason in reasons),
        reasons=tuple(reasons),
        warnings=(*let_through, *warnings),
        modelled=modelled,
        mode=mode,
    )
