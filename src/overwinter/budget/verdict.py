"""The verdict of a gate, an admission or a plan, with its reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One limit, compared with its figure.

    Attributes:
        limit: The configuration key of the limit.
        value: The figure, in `unit`; None if unknown.
        allowed: The limit's value, in `unit`.
        unit: `J`, `gCO2e`, `s`, a currency, `responses`, `days`, or `1` for a share.
        ok: Whether the limit holds.
        binding: Whether the pipeline stops if it does not hold.
        message: The same in words, with a remedy if it does not hold.
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
    """The decision whether the pipeline may continue.

    Attributes:
        stage: The stage before the gate, or, for a plan, its first stage.
        passed: Whether no binding limit is exceeded.
        reasons: Every limit that was checked.
        warnings: Warnings for the user.
        modelled: Whether the joules were mostly modelled, not measured.
        mode: The budget's mode.
    """

    stage: str
    passed: bool
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    modelled: bool
    mode: str

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON-serializable mapping."""
        return {
            "stage": self.stage,
            "passed": self.passed,
            "mode": self.mode,
            "modelled": self.modelled,
            "reasons": [asdict(reason) for reason in self.reasons],
            "warnings": list(self.warnings),
        }

    def refusal(self) -> str:
        """Return the exceeded limits as one message, for `RefusedError`; empty after a pass."""
        return "\n".join(reason.message for reason in self.reasons if reason.binding and not reason.ok)


def verdict(stage: str, reasons: list[Reason], *, warnings: list[str], modelled: bool, mode: str) -> Verdict:
    """Return the verdict from its reasons; an exceeded limit that does not bind becomes a warning."""
    let_through = [reason.message for reason in reasons if not reason.ok and not reason.binding]
    return Verdict(
        stage=stage,
        passed=all(reason.ok or not reason.binding for reason in reasons),
        reasons=tuple(reasons),
        warnings=(*let_through, *warnings),
        modelled=modelled,
        mode=mode,
    )
