"""The values of the ledger: one execution, what a set of them spent, and which ones are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

RUNNING = "running"
DONE = "done"
KILLED = "killed"
FINAL_STATUSES = (DONE, "failed", "refused", "interrupted")
STATUSES = (RUNNING, *FINAL_STATUSES, KILLED)
SCRATCH = "scratch"  # the experiment of a stage program that the user called with overrides
COMMAND_PREFIX = "measure: "
"""Begins the name of what `overwinter measure` recorded; no stage can be called so."""


@dataclass(frozen=True, kw_only=True)
class ExecutionRecord:
    """One execution of one stage, as the ledger knows it. A figure no one knows is None, never zero.

    Attributes:
        id: random, unique over all ledgers.
        stage: the stage's name.
        run_id: shared by the stages that one command ran.
        experiment: DVC's name of the experiment, or None in the workspace.
        configuration_key: digest of all that decides the stage's result (parameters and inputs).
        params_digest: digest of the parameters alone.
        work: declared amount of work (for instance epochs x samples), by which unlike configurations are
            scaled.
        started_utc: when it began.
        ended_utc: when it ended; of a killed one, its last sign of life.
        duration_s: by a clock that no clock change moves.
        status: one of `STATUSES`.
        pid: its process, to be read together with `process_start` and `boot_id`.
        process_start: when that process began, in clock ticks since the machine's start.
        boot_id: of the machine's start.
        pid_namespace: in which `pid` means something (containers share a kernel).
        host: the machine's name.
        energy_j: joules spent by this execution, without those of the ones it resumed.
        uncertainty_j: one-sigma-like half width of `energy_j`.
        measured_fraction: share of `energy_j` that counters measured.
        idle_j: part of `energy_j` that idling would have cost too.
        carbon_g: grams of CO2 equivalent.
        cost: money, in `currency`.
        currency: such as EUR.
        power_w: mean power between the last two heartbeats.
        heartbeat_utc: last sign of life.
        heartbeats: how many there were.
        done: units of work done, of `total`.
        total: units of work in all.
        resumed_from: the execution whose checkpoint this one went on from.
        resumed_j: joules of all executions that this one went on from.
        resumed_carbon_g: grams of the same.
        resumed_duration_s: seconds of the same.
        sources: where the joules come from, in words.
        exit_code: of the process.
        message: why it ended, if not well.
        energy: the content of energy.json.
        metrics: the content of metrics.json.
        artifact_digest: of what it made.
        workload: digest of what a step of its work is, whatever their number; executions of one workload are alike.
        inputs: the artifact digest of each stage that it read from.
        steps: units of work between its first and its latest report of them.
        steps_j: joules spent between the same, apart from starting, loading and saving.
        steps_s: seconds between the same.
        project: whose execution it was.
        person: who ran it; None where no one is named, or where that is switched off.
    """

    id: str
    stage: str
    run_id: str
    experiment: str | None
    configuration_key: str
    params_digest: str | None
    work: float | None
    started_utc: datetime
    ended_utc: datetime | None
    duration_s: float | None
    status: str
    pid: int
    process_start: int
    boot_id: str
    pid_namespace: str
    host: str
    energy_j: float | None
    uncertainty_j: float | None
    measured_fraction: float | None
    idle_j: float | None
    carbon_g: float | None
    cost: float | None
    currency: str | None
    power_w: float | None
    heartbeat_utc: datetime | None
    heartbeats: int
    done: float | None
    total: float | None
    resumed_from: str | None
    resumed_j: float
    resumed_carbon_g: float
    resumed_duration_s: float
    sources: str | None
    exit_code: int | None
    message: str | None
    energy: Mapping[str, Any] | None
    metrics: Mapping[str, Any] | None
    artifact_digest: str | None
    workload: str | None
    inputs: Mapping[str, str] | None
    steps: float | None
    steps_j: float | None
    steps_s: float | None
    project: str | None
    person: str | None

    @property
    def is_command(self) -> bool:
        """Whether this is a command that was measured, and no stage of the pipeline."""
        return self.stage.startswith(COMMAND_PREFIX)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What some executions spent together.

    Attributes:
        energy_j: joules.
        carbon_g: grams of CO2 equivalent, as far as they are known.
        duration_s: seconds.
        executions: ids of those counted, oldest first.
    """

    energy_j: float = 0.0
    carbon_g: float = 0.0
    duration_s: float = 0.0
    executions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which executions are asked for; None asks for all.

    Attributes:
        stage: name of the stage.
        status: one of `STATUSES`.
        run_id: of one run.
        experiment: name of the experiment.
        configuration_key: of one configuration.
        since_utc: begun at that time or later.
        project: name of the project.
        host: the machine's name.
    """

    stage: str | None = None
    status: str | None = None
    run_id: str | None = None
    experiment: str | None = None
    configuration_key: str | None = None
    since_utc: datetime | None = None
    project: str | None = None
    host: str | None = None
