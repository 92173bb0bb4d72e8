"""What the ledger knows about stages that are about to run: done before, or how much like others.

Records are looked up by key, so that a thousand points are planned on a ledger of any length.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from overwinter.budget import Forecast, Range, forecast
from overwinter.config import Config
from overwinter.ledger import SCRATCH, ExecutionRecord
from overwinter.pipeline.identity import declared_work, likeness

_DONE = "done"


def restoring(stage: str) -> Forecast:
    """Return the forecast of a stage that DVC restores from its cache: nothing is spent."""
    nothing = Range(low=0.0, expected=0.0, high=0.0)
    return Forecast(stage=stage, basis="restored", energy_j=nothing, carbon_g=nothing, duration_s=nothing)


class History:
    """The executions of a ledger, by stage and key.

    Args:
        records: All executions, oldest first.
    """

    def __init__(self, records: Sequence[ExecutionRecord]) -> None:
        self._by_key: dict[tuple[str, str], list[ExecutionRecord]] = {}
        self._by_prefix: dict[tuple[str, str], list[ExecutionRecord]] = {}
        self._by_workload: dict[tuple[str, str], list[ExecutionRecord]] = {}
        self._done: dict[str, int] = {}
        for record in records:
            self._by_key.setdefault((record.stage, record.configuration_key), []).append(record)
            if record.prefix_key is not None:
                self._by_prefix.setdefault((record.stage, record.prefix_key), []).append(record)
            if record.status == _DONE and record.workload is not None:
                self._by_workload.setdefault((record.stage, record.workload), []).append(record)
            if record.status == _DONE and record.energy_j is not None:
                self._done[record.stage] = self._done.get(record.stage, 0) + 1

    def is_done(self, stage: str, *, prefix_key: str, configuration_key: str | None = None) -> bool:
        """Return whether DVC's cache has the result of a stage, since the pipeline finished it before.

        Args:
            stage: The stage.
            prefix_key: Its prefix key.
            configuration_key: Its configuration key, if its inputs exist, for executions older than prefix keys.
        """
        older = self._by_key.get((stage, configuration_key), []) if configuration_key is not None else []
        return self._latest_done(stage, prefix_key) is not None or any(
            record.status == _DONE and record.prefix_key is None and record.experiment != SCRATCH for record in older
        )

    def configuration_key(self, stage: str, prefix_key: str) -> str | None:
        """Return the configuration key of the latest execution with a prefix key, finished or not."""
        records = self._by_prefix.get((stage, prefix_key), [])
        return records[-1].configuration_key if records else None

    def forecast(
        self,
        config: Config,
        stage: str,
        prefix_keys: Mapping[str, str],
        *,
        configuration_key: str | None = None,
        inputs: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> Forecast:
        """Forecast one execution of a stage.

        Args:
            config: The configuration.
            stage: The stage.
            prefix_keys: The prefix keys of the configuration's stages.
            configuration_key: Its configuration key, if its inputs exist.
            inputs: The artifact digests of its inputs, if they exist; by default, what the ledger knows of them.
            host: The machine it would run on; by default, this one.
        """
        key = configuration_key or self.configuration_key(stage, prefix_keys[stage])
        workload = likeness(config, stage)
        made = forecast(
            self._like(stage, key, workload),
            stage=stage,
            configuration_key=key,
            work=declared_work(config, stage),
            workload=workload,
            inputs=inputs or self._artifacts(config.pipeline.stages[stage].needs, prefix_keys),
            host=host or platform.node(),
        )
        return made if made.basis != "unknown" else replace(made, executions=self._done.get(stage, 0))

    def _like(self, stage: str, configuration_key: str | None, workload: str) -> list[ExecutionRecord]:
        """Return the records that a forecast may use, oldest first."""
        same = self._by_key.get((stage, configuration_key), []) if configuration_key is not None else []
        like = self._by_workload.get((stage, workload), [])
        return sorted({record.id: record for record in (*same, *like)}.values(), key=lambda each: each.started_utc)

    def _artifacts(self, needs: Iterable[str], prefix_keys: Mapping[str, str]) -> dict[str, str] | None:
        """Return the artifact digest of each stage in ``needs``; None if one is not known."""
        found = {need: self._latest_done(need, prefix_keys[need]) for need in needs}
        known = {
            need: record.artifact_digest
            for need, record in found.items()
            if record is not None and record.artifact_digest is not None
        }
        return known if len(known) == len(found) else None

    def _latest_done(self, stage: str, prefix_key: str) -> ExecutionRecord | None:
        records = self._by_prefix.get((stage, prefix_key), [])
        return next((record for record in reversed(records) if record.status == _DONE), None)
