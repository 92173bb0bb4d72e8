"""Examination of the sessions that would serve: their outputs on the test split, batch by batch, side by side.

Dense's outputs of a batch are the reference for the other sessions; of each batch only what the task's measures need is
kept (`Task.rows`), so that logits of the whole split are never in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch

from overwinter.config.groups import EvaluateConfig
from overwinter.config.groups.figures import AGREEMENT, DIVERGENCE, LOSS
from overwinter.data import Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.evaluation.choosing import DENSE
from overwinter.evaluation.corruptions import can_corrupt, corrupt
from overwinter.evaluation.intervals import CORRECT, headline_intervals
from overwinter.evaluation.measures import apply_measure, direction_of, own_measures
from overwinter.evaluation.quality import Quality, broken_limits
from overwinter.inputs import Array, Inputs, count, fitting_batch, named, to_arrays
from overwinter.progress import Progress, silent
from overwinter.runtime import Session
from overwinter.tasks import Measure, Rows, Task, join_rows

_CORRUPTED = 2000  # samples: a share within 2 points, at one pass per corruption
_FROM_DENSE = {
    AGREEMENT: Measure(name=AGREEMENT),
    DIVERGENCE: Measure(name=DIVERGENCE, higher_is_better=False, share=False),
    LOSS: Measure(name=LOSS, higher_is_better=False, relative=True),
}


class Examiner:
    """Evaluator of sessions on the test split, clean and corrupted, compared with dense's outputs.

    Args:
        task: the task.
        settings: the group `evaluate`.
        seed: seed of the corruptions and of the bootstrap.
        trusted: packages whose classes a measure's ``_target_`` may name.
        origin: origin of dense's weights if they are not as trained.

    Attributes:
        notes: what was not measured and why, in words.

    Raises:
        ConfigError: a measure cannot be created.
    """

    def __init__(
        self,
        task: Task,
        settings: EvaluateConfig,
        *,
        seed: int,
        trusted: Sequence[str],
        origin: str | None = None,
    ) -> None:
        self._task, self._settings, self._seed, self._origin = task, settings, seed, origin
        self._own = own_measures(settings, trusted=trusted)
        self.notes: list[str] = []

    def examine(self, sessions: Mapping[str, Session], split: Split, progress: Progress = silent) -> dict[str, Quality]:
        """Return name -> quality.

        Args:
            sessions: variant@runtime -> session. The first one with dense is the reference.
            split: the test split, with targets as the task reads them.
            progress: called with the samples done and the total.

        Raises:
            ConfigError: there is no sample or no dense variant, the outputs do not fit the targets, or a limit names a
                measure that this model does not have.
            OverwinterError: an output is NaN or infinite, or one of your measures fails or is not a number.
        """
        dense = _dense_among(sessions)
        records = {name: _Record() for name in sessions}
        done = 0
        for number, (given, wanted) in enumerate(split.batches(_batch_size(sessions[dense], split))):
            inputs, targets = to_arrays(given), wanted.numpy()
            self._examine_batch(sessions, dense, records, inputs, targets, done)
            if done < _CORRUPTED:
                self._examine_corrupted(sessions, records, inputs, targets, done, seed=self._seed + number)
            done += count(inputs)
            progress(done, split.size or done)
        if not done:
            raise ConfigError("The test split is empty, so quality cannot be measured.")
        return self._judged(records, dense)

    def _examine_batch(
        self,
        sessions: Mapping[str, Session],
        dense: str,
        records: Mapping[str, _Record],
        inputs: Inputs,
        targets: Array,
        begin: int,
    ) -> None:
        reference = _run(dense, sessions[dense], inputs, begin)
        self._task.check_outputs(reference, targets)
        for name, session in sessions.items():
            outputs = reference if name == dense else _run(name, session, inputs, begin)
            records[name].add(self._task, outputs, reference, targets)
            if self._own:
                records[name].outputs.append(outputs)
                records[name].targets.append(targets)

    def _examine_corrupted(
        self,
        sessions: Mapping[str, Session],
        records: Mapping[str, _Record],
        inputs: Inputs,
        targets: Array,
        begin: int,
        *,
        seed: int,
    ) -> None:
        if self._settings.corruptions and not can_corrupt(inputs):
            self._note("corruptions are left out: they change one tensor of floats, and the inputs are not that")
            return
        for corruption in self._settings.corruptions:
            changed = corrupt(corruption, cast(Array, inputs), seed=seed)
            for name, session in sessions.items():
                outputs = _run(name, session, changed, begin)
                records[name].corrupted.setdefault(corruption, []).append(self._task.rows(outputs, targets))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _judged(self, records: Mapping[str, _Record], dense: str) -> dict[str, Quality]:
        task, settings = self._task, self._settings
        rows = {name: join_rows(record.rows) for name, record in records.items()}
        figures = {name: self._figures(record, rows[name]) for name, record in records.items()}
        intervals = headline_intervals(task, rows, dense, confidence=settings.confidence, seed=self._seed)
        max_losses = {task.headline.name: settings.max_quality_loss} | settings.max_losses
        measures = self._measures(figures[dense])
        return {
            name: Quality(
                headline=task.headline,
                figures=figures[name],
                interval=intervals[name][0],
                loss_interval=intervals[name][1],
                worst_class=_worst_class(rows[name], task.labels),
                origin=self._origin,
                broken_limits=broken_limits(figures[name], figures[dense], measures, max_losses),
            )
            for name in records
        }

    def _figures(self, record: _Record, rows: Rows) -> dict[str, float]:
        headline = self._task.headline.name
        return {
            **self._task.measure(rows),
            LOSS: record.mean(record.losses),
            AGREEMENT: record.mean(record.agreements),
            DIVERGENCE: record.mean(record.divergences),
            **{
                f"{headline}_{name}": self._task.measure(join_rows(each))[headline]
                for name, each in record.corrupted.items()
            },
            **{
                name: apply_measure(name, measure, record.outputs, record.targets)
                for name, measure in self._own.items()
            },
        }

    def _measures(self, figures: Mapping[str, float]) -> dict[str, Measure]:
        """Return the direction and the unit of each figure."""
        headline = self._task.headline
        corrupted = [f"{headline.name}_{name}" for name in self._settings.corruptions]
        known = {
            **self._task.measures,
            **_FROM_DENSE,
            **{name: replace(headline, name=name) for name in corrupted},
            **{name: direction_of(name, measure) for name, measure in self._own.items()},
        }
        return {name: known[name] for name in figures if name in known}


@dataclass
class _Record:
    """What is kept of one session's outputs: per sample, a few numbers."""

    rows: list[Rows] = field(default_factory=list)
    losses: list[Array] = field(default_factory=list)
    agreements: list[Array] = field(default_factory=list)
    divergences: list[Array] = field(default_factory=list)
    corrupted: dict[str, list[Rows]] = field(default_factory=dict)
    outputs: list[Array] = field(default_factory=list)  # only for your own measures
    targets: list[Array] = field(default_factory=list)

    def add(self, task: Task, outputs: Array, reference: Array, targets: Array) -> None:
        """Keep what the measures need of a batch of outputs (n, ...)."""
        samples = len(targets)
        self.rows.append(task.rows(outputs, targets))
        given = _tensor(outputs)
        self.losses.append(np.full(samples, float(task.loss(given, _tensor(targets)))))
        if outputs is reference:
            self.agreements.append(np.ones(samples))
            self.divergences.append(np.zeros(samples))
            return
        self.agreements.append(task.agreement(outputs, reference))
        self.divergences.append(task.divergence(given, _tensor(reference)).numpy())

    @staticmethod
    def mean(parts: Sequence[Array]) -> float:
        """Return the mean over all samples of all batches."""
        return float(np.concatenate(parts).mean(dtype=np.float64))


def _dense_among(sessions: Mapping[str, Session]) -> str:
    for name in sessions:
        if name.partition("@")[0] == DENSE:
            return name
    raise ConfigError(
        "No runtime runs the dense model, so there is nothing to compare with. Add one to evaluate.runtimes."
    )


def _run(name: str, session: Session, inputs: Inputs, begin: int) -> Array:
    """Return the outputs (n, ...) of a batch whose first sample is number ``begin``."""
    outputs = session.run(inputs)
    if not np.isfinite(outputs).all():
        last = begin + len(outputs) - 1
        raise OverwinterError(f"{name}: an output for the test samples {begin} to {last} is not finite. Leave it out.")
    return outputs


def _batch_size(session: Session, split: Split) -> int:
    """Return how many samples are examined at once, so that inputs and outputs stay small."""
    if split.size == 0:
        return 1
    inputs = to_arrays(split.first(1)[0])
    return fitting_batch(session.run(inputs).nbytes + sum(each.nbytes for each in named(inputs).values()))


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _worst_class(rows: Rows, labels: Sequence[str]) -> str | None:
    """Return the class with the lowest accuracy among those that occur, where a sample is right or wrong."""
    if CORRECT not in rows or rows["targets"].ndim != 1 or not labels:
        return None
    counts = np.bincount(rows["targets"])
    hits = np.bincount(rows["targets"], weights=rows[CORRECT])
    return str(labels[int(np.where(counts > 0, hits / np.maximum(counts, 1), np.inf).argmin())])
