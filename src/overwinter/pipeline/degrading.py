"""Falling back when the budget refuses: each fallback is recomposed, so nothing degraded passes for the real thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from overwinter.config import Project, compose, validate


def record_fallback(project: Project, overrides: Sequence[str], added: str, refusal: str) -> None:
    """Keep in the ledger that a run goes on with ``overrides``, of which some were ``added``, and why."""
    from overwinter.ledger import Ledger, ledger_path, origin_of
    from overwinter.pipeline.parent_watch import run_id

    with Ledger.open(ledger_path(project.root)) as ledger:
        origin = origin_of(ledger.path, **asdict(validate(compose(project, overrides)).ledger))
        execution = ledger.begin(stage="degrade", run_id=run_id(), configuration_key="", origin=origin)
        execution.finish(status="done", exit_code=0, metrics={"overrides": added}, message=refusal)
