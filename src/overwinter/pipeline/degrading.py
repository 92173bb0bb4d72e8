"""Falling back when the budget refuses: each fallback is recomposed, so nothing degraded passes for the real thing."""

from __future__ import annotations

from overwinter.config import Project


def record_fallback(project: Project, added: str, refusal: str) -> None:
    """Keep in the ledger that a run went on with ``added`` overrides, and why."""
    from overwinter.ledger import Ledger, ledger_path
    from overwinter.pipeline.lifeline import run_id

    with Ledger.open(ledger_path(project.root)) as ledger:
        execution = ledger.begin(stage="degrade", run_id=run_id(), configuration_key="")
        execution.finish(status="done", exit_code=0, metrics={"overrides": added}, message=refusal)
