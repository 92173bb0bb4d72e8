"""The ledger entry of a measured command, with its emissions: a separate kind of row, not a pipeline stage."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from overwinter.config.validation import typed_carbon
from overwinter.energy import EnergyRecord
from overwinter.ledger import COMMAND_PREFIX, Ledger, ledger_path, origin_of
from overwinter.pipeline.watch import Spent, Watch

if TYPE_CHECKING:
    from overwinter.energy import EnergyMeter

_WORLD = {"source": "constant", "intensity_g_per_kwh": 475.0}  # configs/carbon/constant.yaml names its source


class Entry:
    """The entry of one command, from its start to its end. Disk errors are reported and do not stop the command.

    Args:
        name: The name of the command in the ledger.
        words: The command.
        groups: The project's params.yaml, of which `carbon` and `ledger` are used; empty outside a project.
        meter: The running meter.
    """

    def __init__(self, name: str, words: Sequence[str], groups: Mapping[str, Any], meter: EnergyMeter) -> None:
        source = typed_carbon(groups.get("carbon") or _WORLD, "carbon").open()
        self._ledger = Ledger.open(ledger_path(), log=lambda text: print(f"overwinter: {text}", file=sys.stderr))
        self._stage = f"{COMMAND_PREFIX}{name}"
        origin = origin_of(self._ledger.path, **groups.get("ledger", {}))
        self._execution = self._ledger.begin(
            stage=self._stage,
            run_id=f"measure-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            configuration_key=hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest(),
            origin=origin,
        )
        self._watch = Watch(meter, source, self._beat)

    def finish(self, exit_code: int) -> EnergyRecord:
        """Close the entry; return the command's record."""
        spent = self._watch.close()
        record = EnergyRecord.of(spent.report, stage=self._stage, execution=self._execution.id, **spent.carbon())
        self._execution.finish(
            status="failed" if exit_code else "done",
            exit_code=exit_code,
            energy=record,
            message=f"the command's exit code was {exit_code}" if exit_code else None,
        )
        self._ledger.close()
        return record

    def _beat(self, spent: Spent) -> None:
        self._execution.heartbeat(
            energy_j=spent.report.energy_j,
            uncertainty_j=spent.report.uncertainty_j,
            measured_fraction=spent.report.measured_fraction,
            idle_j=spent.report.idle_j,
            carbon_g=spent.carbon_g,
        )
