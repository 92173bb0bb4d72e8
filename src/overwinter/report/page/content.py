"""The content of a report, as typed values: what is read from a project's files, and what is rendered.

Every figure is in the unit that ends its name. None means unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from overwinter.ledger import Spent, Total
from overwinter.report.summary import StageSummary

_RATES_PER_DAY = (1e3, 1e5, 1e7)  # of a tool in a team, of a site, of a busy service


@dataclass(frozen=True, kw_only=True)
class Device:
    """The joules of one device in one stage.

    Attributes:
        device: The device, such as `cpu` or `gpu0`.
        source: Where the joules come from, such as `rapl` or `modelled`.
        measured: Whether a counter measured them.
        energy_j: Joules.
        uncertainty_j: Uncertainty of `energy_j`.
        average_w: Mean power.
        peak_w: Highest power.
    """

    device: str
    source: str
    measured: bool
    energy_j: float
    uncertainty_j: float
    average_w: float | None
    peak_w: float | None


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What a gate judged, as in gate_report.json.

    Attributes:
        passed: Whether it let the result pass.
        mode: The budget's mode.
        reasons: In words, each limit and whether it holds.
        warnings: Its warnings.
    """

    passed: bool
    mode: str
    reasons: tuple[tuple[bool, str], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageFigures(StageSummary):
    """A stage: its row of the summary table, and what lies behind it.

    Attributes:
        devices: The joules by device.
        idle_j: The part of `energy_j` that idling would also have cost.
        power_policy: The power policy.
        cap_bound_fraction: The share of the capped time in which the cap slowed the work.
        intensity_g_per_kwh: The latest carbon intensity.
        intensity_source: Where that is from.
        cost: Money, in `currency`.
        currency: The currency.
        warnings: The warnings of its energy.json.
        gate: The report of its gate; None if it has not judged.
        execution: Its id in the ledger.
    """

    devices: tuple[Device, ...] = ()
    idle_j: float | None = None
    power_policy: str = "none"
    cap_bound_fraction: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_source: str | None = None
    cost: float | None = None
    currency: str | None = None
    warnings: tuple[str, ...] = ()
    gate: GateReport | None = None
    execution: str | None = None


@dataclass(frozen=True, kw_only=True)
class PowerSample:
    """A point of a device's power over time.

    Attributes:
        stage: The stage.
        device: The device.
        time_s: Seconds since the beginning of the first stage, the stages set end to end.
        power_w: Power, averaged where samples were joined.
        limit_w: The power limit; None without one.
        intensity_g_per_kwh: The carbon intensity.
    """

    stage: str
    device: str
    time_s: float
    power_w: float
    limit_w: float | None
    intensity_g_per_kwh: float | None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Figures that a stage reported while it ran.

    Attributes:
        stage: The stage.
        energy_j: Joules of the stage so far.
        pipeline_j: The same, and those of the stages before it.
        done: Units of work done.
        total: Units of work in total.
        figures: The figures, such as `loss`.
    """

    stage: str
    energy_j: float
    pipeline_j: float
    done: float
    total: float
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A variant on a runtime, as in comparison.json.

    Attributes:
        name: VARIANT@RUNTIME.
        role: `chosen`, `given` (the file that the model came in, where it is the reference), `dense` (the best dense
            one), or empty.
        quality: The headline measure on the test split.
        quality_low: Lower bound of its interval.
        quality_high: Upper bound of its interval.
        energy_per_response_j: Joules per response at the batch size that decides.
        energy_per_response_low_j: Lower bound of its interval.
        energy_per_response_high_j: Upper bound of its interval.
        latency_p50_s: Median latency of a call.
        latency_p95_s: 95th percentile of it.
        size_bytes: Size of its files.
        measured: Whether counters measured the joules.
        broken_limits: The limits on quality that it breaks.
        at_batch: Joules per response, by batch size.
        prefill_j_per_token: Joules per token read; None where no text is generated.
        decode_j_per_token: Joules per token written.
    """

    name: str
    role: str
    quality: float | None
    quality_low: float | None
    quality_high: float | None
    energy_per_response_j: float
    energy_per_response_low_j: float
    energy_per_response_high_j: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    size_bytes: float | None
    measured: bool
    broken_limits: tuple[str, ...]
    at_batch: Mapping[str, float]
    prefill_j_per_token: float | None = None
    decode_j_per_token: float | None = None


@dataclass(frozen=True, kw_only=True)
class Responses:
    """The dense model against the compressed one.

    Attributes:
        stage: The stage that compared them.
        headline: The headline measure's title.
        per_cent: Whether it is read in per cent.
        candidates: All candidates, the fewest joules per response first.
        reference: What a saving is against: the best dense candidate, or the file that the model came in.
        pays: Whether the chosen one uses fewer joules than the reference, beyond both intervals.
        saving: Share of the reference's joules per response that is saved.
        saving_low: The same at the far ends of both intervals, the least there may be.
        saving_high: The most there may be.
        size_ratio: The reference's size divided by the chosen one's.
        device: The device of the measurements.
        batch_size: The batch size that decides; None for generated text.
        measured: Whether counters measured the joules of both.
    """

    stage: str
    headline: str
    per_cent: bool
    candidates: tuple[Candidate, ...]
    reference: str
    pays: bool
    saving: float
    saving_low: float
    saving_high: float
    size_ratio: float
    device: str
    batch_size: int | None
    measured: bool


@dataclass(frozen=True, kw_only=True)
class PaybackAt:
    """Payback at one rate of responses.

    Attributes:
        responses_per_day: The rate.
        days: Days until break-even.
        days_at_worst: The same at the far ends of the intervals; None: never.
        first_year_j: Joules saved in the first year, less those of compressing; negative: not earned back by then.
    """

    responses_per_day: float
    days: float
    days_at_worst: float | None
    first_year_j: float


@dataclass(frozen=True, kw_only=True)
class Payback:
    """After how many responses the joules spent on compressing are earned back.

    Attributes:
        stages: The stages that count.
        spent_j: Their joules.
        responses: Responses until break-even; None: never.
        responses_at_worst: The same at the far ends of the intervals; None: never.
        responses_per_day: The expected rate, by the budget; None if not set.
    """

    stages: tuple[str, ...]
    spent_j: float
    responses: float | None
    responses_at_worst: float | None
    responses_per_day: float | None

    @property
    def table(self) -> tuple[PaybackAt, ...]:
        """Return payback at some usual rates and at the expected one; empty if it is never reached."""
        if not self.responses:
            return ()
        rates = sorted({*_RATES_PER_DAY, *([self.responses_per_day] if self.responses_per_day else [])})
        saved_j = self.spent_j / self.responses
        return tuple(
            PaybackAt(
                responses_per_day=rate,
                days=self.responses / rate,
                days_at_worst=None if self.responses_at_worst is None else self.responses_at_worst / rate,
                first_year_j=365 * rate * saved_j - self.spent_j,
            )
            for rate in rates
        )


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """A limit of the budget, and what of it is used.

    Attributes:
        limit: Its key, such as `budget.total`.
        covers: The stage, or `all stages`.
        allowed: The allowed amount, in words.
        used: The amount used to produce the present results, in words; None if unknown.
        left: What is left, in words.
        share: The used share; None if unknown.
        hard: Whether exceeding it stops the work.
    """

    limit: str
    covers: str
    allowed: str
    used: str | None
    left: str | None
    share: float | None
    hard: bool


@dataclass(frozen=True, kw_only=True)
class LedgerFigures:
    """Sums of the ledger.

    Attributes:
        total: All executions of stages.
        wasted: Those that no result in use and no checkpoint depends on.
        wasted_by: The same by stage and status, such as `train, failed`, the most joules first.
        commands: Measured commands; None if there are none.
        last_run: What the latest run spent.
        since: The first day, such as 2026-11-30.
    """

    total: Total
    wasted: Total
    wasted_by: tuple[Total, ...]
    commands: Total | None
    last_run: Spent
    since: str | None


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where the results come from.

    Attributes:
        command: The command that makes them again.
        commit: The commit of the project, with `, changed since` if files differ from it; None outside Git.
        digests: Digests of models and data by name.
        version: The version of Overwinter that made them.
        machine: The processor.
    """

    command: str
    commit: str | None
    digests: Mapping[str, str]
    version: str | None
    machine: str | None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to try next.

    Attributes:
        title: What, in a sentence.
        why: What in the records says so.
        saves: The expected saving in words; None if the records do not tell.
        share: The expected saving as a share of `of`; None if the records do not tell.
        of: What the saving is a share of.
        command: The command to try; None if there is none.
    """

    title: str
    why: str
    saves: str | None = None
    share: float | None = None
    of: str = ""
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class FrontEntry:
    """A point of a sweep.

    Attributes:
        name: Its name.
        settings: The settings that vary among the points.
        mark: `knee`, `least energy`, both, `front`, or empty for a point that another one beats.
        quality: The headline measure.
        energy_per_response_j: Joules per response.
        production_j: Joules to produce.
        size_bytes: Size.
    """

    name: str
    settings: str
    mark: str
    quality: float | None
    energy_per_response_j: float | None
    production_j: float | None
    size_bytes: float | None


@dataclass(frozen=True, kw_only=True)
class SweepFigures:
    """A sweep and its Pareto front.

    Attributes:
        name: The sweep's name.
        description: What its front is of, in a sentence.
        points: The points that are done.
    """

    name: str
    description: str
    points: tuple[FrontEntry, ...]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model of a running server, since the server started.

    Attributes:
        name: Its name.
        state: Its state now.
        why: The reason of that state.
        requests: Requests answered.
        wakes: Wakes.
        crashes: Workers that exited unexpectedly.
        state_s: Seconds of its replicas in each state.
        energy_j: Joules in each state, by the configured power draw.
        energy_basis: What that power draw was measured with, or that it is guessed.
        saved_j: Joules saved compared with staying ready; None if the power draw was not measured.
        saved_uncertainty_j: Their standard uncertainty.
        wait_p95_s: The upper end of the bucket with the 95th percentile of the waits for a worker, waking included;
            None without requests, infinite beyond the last bucket.
    """

    name: str
    state: str
    why: str
    requests: int
    wakes: int
    crashes: int
    state_s: Mapping[str, float]
    energy_j: Mapping[str, float]
    energy_basis: str
    saved_j: float | None
    saved_uncertainty_j: float | None
    wait_p95_s: float | None


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report of a pipeline shows.

    Attributes:
        project: The project's name.
        written_utc: When the report was made.
        stages: The stages, in order.
        total: Their sum, of what the present results cost to produce.
        sources: A sentence on how much of it was measured.
        power: Power over time.
        curves: What stages reported while they ran.
        headline: The headline measure's name; None if unknown.
        responses: Dense against compressed; None before evaluate.
        payback: None before evaluate.
        limits: The budget's limits.
        ledger: Sums of the ledger; None if there is none.
        lineage: Where the results come from.
        advice: What to try, the largest expected saving first.
        sweep: The latest sweep; None if there is none.
        outdated: Stages whose results were made from earlier results than the present ones, with what they should
            have read.
        served: The models of a running server, if one was asked.
    """

    project: str
    written_utc: str
    stages: tuple[StageFigures, ...]
    total: StageSummary
    sources: str
    power: tuple[PowerSample, ...]
    curves: tuple[CurvePoint, ...]
    headline: str | None
    responses: Responses | None
    payback: Payback | None
    limits: tuple[LimitUse, ...]
    ledger: LedgerFigures | None
    lineage: Lineage
    advice: tuple[Advice, ...]
    sweep: SweepFigures | None
    outdated: Mapping[str, tuple[str, ...]]
    served: tuple[ServedModel, ...] = ()

    @property
    def has_results(self) -> bool:
        """Whether a stage has a result here; a sweep leaves its results elsewhere."""
        return any(stage.energy_j is not None for stage in self.stages)

    @property
    def intensities(self) -> list[tuple[float, str]]:
        """The latest carbon intensity of each stage and where it is from, each pair once."""
        pairs = ((stage.intensity_g_per_kwh, stage.intensity_source) for stage in self.stages)
        return list(dict.fromkeys((grams, source) for grams, source in pairs if grams is not None and source))

    def to_json(self) -> dict[str, Any]:
        """Return the content as a mapping."""
        return asdict(self)
