"""Fallbacks when the budget refuses: each is a new composition, so its results are never taken for the original's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from overwinter.config import Project, compose, validate


def record_fallback(project: Project, overrides: Sequence[str], added: str, refusal: str) -> None:
    """Record in the ledger that a run continues with ``overrides``, which of them were ``added``, and the refusal."""
    from overwinter.ledger import Ledger, ledger_path, origin_of
    from overwinter.pipeline.parent_watch import run_id

    with Ledger.open(ledger_path(project.root)) as ledger:
        origin = origin_of(ledger.path, **asdict(validate(compose(project, overrides)).ledger))
        execution = ledger.begin(stage="degrade", run_id=run_id(), configuration_key="", origin=origin)
        execution.finish(status="done", exit_code=0, metrics={"overrides": added}, message=refusal)
