"""Metrics of models: seconds and joules by state, wakes and requests. Savings need a measured power draw."""

from __future__ import annotations

import math
import time
from collections import Counter as Sums
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from overwinter.serving.sleep_levels import prefork_j, wake_j_from

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from overwinter.config.groups.serve import PowerDrawConfig

STATES = ("ready", "waking", "parked", "preforked", "off")
RESPONDING = "responding"  # a worker computes a response; the joules above those of `ready`
_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60)


class Log(Protocol):
    """A log of structured lines."""

    def __call__(self, event: str, **facts: Any) -> None:
        """Write one event."""


class Metrics:
    """The metrics of a server, labelled by model."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered, by status", ("model", "status"))
        self.transitions = self._counter("transitions", "Changes of state", ("model", "from", "to", "reason"))
        self.crashes = self._counter("worker_crashes", "Workers that exited unexpectedly", ("model",))
        self.wakes = Histogram(
            "overwinter_wake_seconds",
            "Duration of wakes: total, and by step: start, verify, load, canary",
            ("model", "level", "step"),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )

        self.waits = Histogram(
            "overwinter_wait_seconds",
            "Time from a request's arrival until a worker begins with it, waking included",
            ("model",),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )

        self.deferred = Gauge(
            "overwinter_deferred", "Requests that wait for lower carbon intensity", registry=self.registry
        )
        self._models: list[ModelMetrics] = []
        self.registry.register(self)

    def add(self, model: ModelMetrics) -> None:
        """Add the metrics of a model."""
        self._models.append(model)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are computed at each scrape, each once with the samples of all models.

        Prometheus's strict parsers refuse a text that describes a metric twice.
        """
        families: dict[str, Metric] = {}
        for model in self._models:
            for family in model.collect():
                if (known := families.setdefault(family.name, family)) is not family:
                    known.samples.extend(family.samples)
        yield from families.values()

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"overwinter_{name}", text, labels, registry=self.registry)


@dataclass
class DurationTotal:
    """A count of events and their total duration."""

    count: int = 0
    duration_s: float = 0.0

    def add(self, duration_s: float) -> None:
        """Add one event."""
        self.count += 1
        self.duration_s += duration_s


class ModelMetrics:
    """The metrics of one model, over all its replicas.

    A wake counts with the watts of `off` for its duration plus its measured energy above them: on a busy machine it
    takes longer, but does the same work.

    Args:
        model: The model's name.
        power_draw: The watts by state, and the joules of a wake.
        metrics: The server's metrics.
        log: The server's log.
        now_s: A monotonic clock.

    Attributes:
        succeeded: Requests that succeeded.
        failed: Requests that failed.
        kept: Those of `succeeded` with a cached response.
        last_s: The time of the last response, in seconds since 1970; 0: none yet.
        queued: The waits of requests for a worker, waking included.
        computed: The workers' time for requests, until the response or its beginning.
        responding_s: The workers' time for requests, streamed responses whole.
    """

    def __init__(
        self,
        model: str,
        *,
        power_draw: PowerDrawConfig,
        metrics: Metrics,
        log: Log,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._power_draw, self._metrics, self._log, self._now_s = model, power_draw, metrics, log, now_s
        self._where: dict[Any, tuple[str, float]] = {}
        self._woken_from: dict[Any, str] = {}
        self._seconds: dict[str, float] = dict.fromkeys(STATES, 0.0)
        self._switches, self._switches_j = 0, 0.0
        self.wakes = self.crashes = self.requests = 0
        self.succeeded, self.failed, self.kept = DurationTotal(), DurationTotal(), DurationTotal()
        self.queued, self.computed = DurationTotal(), DurationTotal()
        self.last_s = self.responding_s = 0.0
        metrics.add(self)

    def entered(self, replica: Any, state: str, *, reason: str) -> None:
        """Record that a replica changed its state."""
        self._settle(replica)
        before, _ = self._where.get(replica, ("none", 0.0))
        if state == "waking":
            self._woken_from[replica] = before
        elif before == "waking":
            self._switched(self._woken_from.pop(replica), state)
        self._where[replica] = (state, self._now_s())
        self._metrics.transitions.labels(self._model, before, state, reason).inc()
        self._log("state", model=self._model, state=state, reason=reason)
        if reason == "crash":
            self.crashes += 1
            self._metrics.crashes.labels(self._model).inc()

    def left(self, replica: Any) -> None:
        """Record that a replica was removed."""
        self._settle(replica)
        del self._where[replica]
        self._woken_from.pop(replica, None)

    def woke(self, level: str, duration_s: float, *, steps_s: Mapping[str, float]) -> None:
        """Record a wake from a sleep level, and the duration of its steps."""
        self.wakes += 1
        self._metrics.wakes.labels(self._model, level, "all").observe(duration_s)
        for step, step_s in steps_s.items():
            self._metrics.wakes.labels(self._model, level, step).observe(step_s)
        rounded = {f"{step}_s": round(step_s, 6) for step, step_s in steps_s.items()}
        self._log("woke", model=self._model, level=level, duration_s=round(duration_s, 6), **rounded)

    def waited(self, duration_s: float) -> None:
        """Record the wait of a request for a worker."""
        self._metrics.waits.labels(self._model).observe(duration_s)
        self.queued.add(duration_s)

    def answered(self, status: int, *, within_s: float, kept: bool = False) -> None:
        """Record a response, its duration, and whether it came from the cache."""
        self.requests += 1
        self.last_s = time.time()
        (self.succeeded if status < 400 else self.failed).add(within_s)
        if kept:
            self.kept.add(within_s)
        self._metrics.requests.labels(self._model, status).inc()

    def seconds(self) -> dict[str, float]:
        """Return the seconds in each state so far."""
        for replica in self._where:
            self._settle(replica)
        return dict(self._seconds)

    def joules(self) -> dict[str, float]:
        """Return the joules in each state so far, and those of responding, by the configured power draw.

        A wake counts at its end. Responding counts with its draw above `ready`, in which its time counts, too.
        """
        joules = {state: seconds * self._watts(state) for state, seconds in self.seconds().items()}
        joules["waking"] += self._switches_j
        joules[RESPONDING] = self.responding_s * self._power_draw.responding_w
        return joules

    @property
    def basis(self) -> str:
        """Return whether the joules are `measured`, `modelled` or `guessed`."""
        return _basis(self._power_draw.source)

    def uncertainty_j(self) -> float:
        """Return the standard uncertainty of the joules so far; of guessed watts, all of them.

        The error of the watts is taken to be the same in every state, and that of a wake the same for each wake.
        """
        if self._power_draw.source is None:
            return sum(self.joules().values())
        watts_j = self._power_draw.uncertainty_w * (sum(self.seconds().values()) + self.responding_s)
        return math.hypot(watts_j, self._power_draw.wake_uncertainty_j * self._switches)

    def saved_j(self) -> tuple[float, float] | None:
        """Return the joules saved compared with staying ready all the time, and their standard uncertainty.

        None if the power draw was not measured. The errors of each state's watts are independent; those of wakes are
        the same for each wake from one level.
        """
        if self._power_draw.source is None:
            return None
        seconds, joules = self.seconds(), self.joules()
        asleep_s = sum(seconds.values()) - seconds["ready"]
        saved_j = asleep_s * self._watts("ready") - sum(joules[state] for state in STATES if state != "ready")
        idle_s = (seconds["parked"], seconds["preforked"], seconds["off"] + seconds["waking"])
        idle_uncertainty_j = self._power_draw.uncertainty_w * math.hypot(asleep_s, *idle_s)
        return saved_j, math.hypot(idle_uncertainty_j, self._power_draw.wake_uncertainty_j * self._switches)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are computed at each scrape."""
        present = Sums(state for state, _ in self._where.values())
        joules = CounterMetricFamily("overwinter_energy_joules", "Energy by state", labels=("model", "state", "basis"))
        seconds = CounterMetricFamily("overwinter_state_seconds", "Time in each state", labels=("model", "state"))
        state_now = GaugeMetricFamily("overwinter_replicas", "Replicas in each state", labels=("model", "state"))
        for state, spent_j in self.joules().items():
            joules.add_metric((self._model, state, self.basis), spent_j)
        for state in STATES:
            seconds.add_metric((self._model, state), self._seconds[state])
            state_now.add_metric((self._model, state), present[state])
        yield from (joules, seconds, state_now)
        if (saved := self.saved_j()) is not None:
            for name, what, value in (
                ("saved", "Energy saved compared with staying ready", saved[0]),
                ("saved_uncertainty", "Standard uncertainty of the energy saved", saved[1]),
            ):
                gauge = GaugeMetricFamily(f"overwinter_{name}_joules", what, labels=("model",))
                gauge.add_metric((self._model,), value)
                yield gauge

    def _switched(self, left: str, reached: str) -> None:
        """Count the joules of a wake, or of starting a preforked process, even if it failed."""
        prefork = reached == "preforked" or left == "ready"
        self._switches += 1
        self._switches_j += prefork_j(self._power_draw) if prefork else wake_j_from(left, self._power_draw)

    def _settle(self, replica: Any) -> None:
        now_s = self._now_s()
        if replica in self._where:
            state, since_s = self._where[replica]
            self._seconds[state] += now_s - since_s
            self._where[replica] = (state, now_s)

    def _watts(self, state: str) -> float:
        return float(getattr(self._power_draw, "off_w" if state == "waking" else f"{state}_w"))


def _basis(source: str | None) -> str:
    """Return the basis of the joules; a source that begins with `modelled` is partly modelled."""
    if source is None:
        return "guessed"
    return "modelled" if source.startswith("modelled") else "measured"
