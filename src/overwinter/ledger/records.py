"""The values of the ledger: an execution, the spending of several executions, and a filter."""

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
"""Name prefix of executions recorded by `overwinter measure`; no stage's name can have it."""
WATCH_PREFIX = "watch: "
"""Name prefix of scripts recorded by `overwinter.watch`; no stage's name can have it either."""
SERVE_PREFIX = "serve: "
"""Name prefix of what `overwinter serve` records; no stage's name can have it either."""


@dataclass(frozen=True, kw_only=True)
class ExecutionRecord:
    """One execution of one stage in the ledger. An unknown figure is None, never zero.

    Attributes:
        id: A random id, unique across all ledgers.
        stage: The stage's name.
        run_id: The id shared by the stages that one command ran.
        experiment: The DVC experiment; None in the workspace.
        configuration_key: The digest of everything that determines the stage's result (parameters and inputs).
        params_digest: The digest of the parameters alone.
        work: The declared amount of work, such as epochs x samples, by which forecasts scale.
        started_utc: The start time.
        ended_utc: The end time; of a killed execution, the last heartbeat.
        duration_s: The duration, by a monotonic clock.
        status: One of `STATUSES`.
        pid: The process id, unique with `process_start` and `boot_id`.
        process_start: The start time of the process, in clock ticks since the machine's boot.
        boot_id: The boot id of the machine.
        pid_namespace: The pid namespace of `pid`.
        host: The machine's name.
        energy_j: Joules spent by this execution, without those of executions it resumed.
        uncertainty_j: Half-width of the interval around `energy_j`, about one sigma.
        measured_fraction: Share of `energy_j` measured by counters.
        idle_j: The part of `energy_j` that idling would also have cost.
        carbon_g: Grams of CO2 equivalent.
        cost: Money, in `currency`.
        currency: The currency, such as EUR.
        power_w: Mean power between the last two heartbeats.
        heartbeat_utc: The time of the last heartbeat.
        heartbeats: The number of heartbeats.
        done: Units of work done, of `total`.
        total: Units of work in total.
        resumed_from: The execution whose checkpoint this one resumed from.
        resumed_j: Joules of all executions that this one resumed.
        resumed_carbon_g: Grams of the same.
        resumed_duration_s: Seconds of the same.
        sources: The share of joules by source, in words.
        exit_code: The exit code of the process.
        message: The error message, if any.
        energy: The content of energy.json.
        metrics: The content of metrics.json.
        artifact_digest: The digest of the stage's outputs.
        workload: The digest of its steps' settings, independent of their number.
        inputs: The artifact digest of each stage that it read from.
        steps: Units of work between its first and its latest report of progress.
        steps_j: Joules between these two, without starting, loading and saving.
        steps_s: Seconds between these two.
        project: The project's name.
        person: The user who ran it; None if not known or not recorded.
        prefix_key: The digest of everything that determines the stage's result and is known before the pipeline runs
            (`pipeline.prefix`); None outside the pipeline, and in older ledgers.
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
    prefix_key: str | None

    @property
    def is_command(self) -> bool:
        """Whether this is a measured command, not a stage of the pipeline."""
        return self.stage.startswith(COMMAND_PREFIX)

    @property
    def is_script(self) -> bool:
        """Whether this is a watched script, not a stage of the pipeline."""
        return self.stage.startswith(WATCH_PREFIX)

    @property
    def is_server(self) -> bool:
        """Whether this is a server, which recorded itself or was metered under a name that begins with `serve`."""
        return self.stage.startswith((SERVE_PREFIX, f"{COMMAND_PREFIX}serve"))

    @property
    def of_pipeline(self) -> bool:
        """Whether this is a stage of the pipeline, whose result is known."""
        return not (self.is_command or self.is_script or self.is_server)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """The total spending of several executions.

    Attributes:
        energy_j: Joules.
        carbon_g: Known grams of CO2 equivalent.
        duration_s: Seconds.
        executions: Ids of the counted executions, oldest first.
    """

    energy_j: float = 0.0
    carbon_g: float = 0.0
    duration_s: float = 0.0
    executions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter for executions; None matches all.

    Attributes:
        stage: The stage's name.
        status: One of `STATUSES`.
        run_id: The run.
        experiment: The DVC experiment.
        configuration_key: The configuration key.
        since_utc: The earliest start time.
        project: The project's name.
        host: The machine's name.
    """

    stage: str | None = None
    status: str | None = None
    run_id: str | None = None
    experiment: str | None = None
    configuration_key: str | None = None
    since_utc: datetime | None = None
    project: str | None = None
    host: str | None = None
