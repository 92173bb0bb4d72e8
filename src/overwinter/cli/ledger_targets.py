"""`overwinter ledger --to-target`: the joules of trainings until the quality at which they stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.cli.ledger import print_table
from overwinter.units import format_duration, format_si

if TYPE_CHECKING:
    from overwinter.ledger import ExecutionRecord, ToTarget

_TITLES = ("begun (UTC)", "stage", "target", "reached", "found", "energy", "time", "epochs", "measured", "experiment")
_RIGHT = ("found", "energy", "time", "epochs", "measured")


def print_targets(records: Sequence[ExecutionRecord], path: Path, *, as_json: bool) -> None:
    """Print them, the cheapest of each target first.

    Args:
        records: executions with their documents.
        path: of the ledger, for the message that it has none.
        as_json: whether to print JSON.
    """
    from overwinter.ledger import to_targets

    found = to_targets(records)
    if as_json:
        rows = [{**asdict(each), "started_utc": each.started_utc.isoformat()} for each in found]
        print(json.dumps({"to_target": rows}, indent=2))
    elif not found:
        print(f"{path} holds no finished training with a target. Set one: `overwinter run train.to={{accuracy: 0.9}}`.")
    else:
        print_table(_TITLES, [_row(each) for each in found], right=_RIGHT)


def _row(each: ToTarget) -> list[str]:
    return [
        f"{each.started_utc:%Y-%m-%d %H:%M:%S}",
        each.stage,
        f"{each.measure} {each.target:g}",
        "yes" if each.reached else "no",
        "" if each.found is None else f"{each.found:.4g}",
        "unknown" if each.energy_j is None else format_si(each.energy_j, "J"),
        "" if each.duration_s is None else format_duration(each.duration_s),
        "" if each.epochs is None else str(each.epochs),
        "" if each.measured_fraction is None else f"{each.measured_fraction:.0%}",
        each.experiment or "",
    ]
