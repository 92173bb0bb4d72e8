"""Runs of the ledger as a side of a comparison: the documents of the stages that the run executed."""

from __future__ import annotations

from overwinter.comparison.contents import Side, assemble
from overwinter.energy.record import ENERGY_FILE
from overwinter.errors import ConfigError, OverwinterError
from overwinter.ledger import Filter, Ledger
from overwinter.ledger.records import DONE

_LEAST_CHARACTERS = 4  # of the beginning of a run's id


def find_run(ledger: Ledger, name: str) -> Side | None:
    """Return the run whose id begins with ``name``; None if there is none.

    Raises:
        ConfigError: several runs begin so.
        OverwinterError: no stage of the run ended, so it has no figures; or the ledger cannot be read.
    """
    if len(name) < _LEAST_CHARACTERS:
        return None
    ids = sorted({each.run_id for each in ledger.executions() if each.run_id.startswith(name) and each.of_pipeline})
    if not ids:
        return None
    if len(ids) > 1 and name not in ids:
        raise ConfigError(f"{len(ids)} runs of the ledger begin with {name!r}. Add characters: {', '.join(ids[:3])}.")
    return _run(ledger, name if name in ids else ids[0])


def _run(ledger: Ledger, run_id: str) -> Side:
    title = f"run {run_id}"  # whole: the ids of a sweep's runs begin alike
    done = ledger.executions(Filter(run_id=run_id, status=DONE), documents=True)
    documents = {
        f"outputs/{each.stage}/{file}": content
        for each in done
        for file, content in ((ENERGY_FILE, each.energy), ("metrics.json", each.metrics))
        if content is not None
    }
    note = f"{title}: the ledger has the stages that it executed, not those it reused, and no parameters"
    side = assemble(title, dict.fromkeys(each.stage for each in done), documents, notes=[note])
    if side.is_empty:
        raise OverwinterError(
            f"{title} has no figures: none of its stages ended. `overwinter ledger --run {run_id}` shows why."
        )
    return side
