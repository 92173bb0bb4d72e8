"""The result of a point of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.sweep.points import Point

DONE = "done"
REFUSED = "refused"
FAILED = "failed"
SKIPPED = "skipped"
INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """What a point gave. A figure that is not known is None.

    Attributes:
        point: The point.
        status: `done`; `refused` by a gate or a budget; `failed`; `skipped`, because the sweep's budget ended before
            it; or `interrupted`.
        message: Why it is not done; empty if it is.
        run_id: The id of its latest run in the ledger; empty if it has not run.
        experiment: The name of its DVC experiment; None if none was saved.
        quality: The headline measure of the candidate that evaluate chose.
        energy_per_response_j: The joules per response of that candidate.
        production_j: What its stages cost to produce, by their energy.json, whether they ran now or before.
        size_bytes: The size of that candidate.
        ran: The stages that were executed now; the others were restored.
    """

    point: Point
    status: str
    message: str = ""
    run_id: str = ""
    experiment: str | None = None
    quality: float | None = None
    energy_per_response_j: float | None = None
    production_j: float | None = None
    size_bytes: int | None = None
    ran: tuple[str, ...] = ()
