"""Quality of the outputs of the sessions that would serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from overwinter.config import instantiate
from overwinter.config.groups import EvaluateConfig
from overwinter.config.targets import MEASURE
from overwinter.errors import ConfigError, OverwinterError
from overwinter.evaluation.choosing import DENSE
from overwinter.evaluation.corruptions import corrupt
from overwinter.evaluation.figures import low_and_high
from overwinter.evaluation.scores import (
    Labels,
    Measure,
    accuracy,
    agreement,
    calibration_error,
    loss_interval,
    share_interval,
    top_accuracy,
    worst_class,
)
from overwinter.runtime import Array, Session

_BATCH = 256
_CORRUPTED = 2000  # samples: accuracy within 2 points, at one pass per corruption
_TOP = 5
_LESS_IS_BETTER = ("calibration_error",)
_A_MEASURE = "A measure is a class whose objects are called with logits and labels, and return a number."


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality of one session's outputs.

    Attributes:
        scores: name -> number: `accuracy`, `calibration_error`, `worst_class_accuracy`, `agreement_with_dense`;
            `top5_accuracy` for more than five classes; `accuracy_CORRUPTION`; your own.
        worst_class: name of the class with the lowest accuracy.
        accuracy_ci: interval of the accuracy on all inputs of this kind, of which the test split is a sample.
        accuracy_loss_ci: interval of the accuracy lost against dense, on the same samples.
        broken_limits: scores that are worse than dense's by more than is allowed, in words.
    """

    scores: Mapping[str, float]
    worst_class: str
    accuracy_ci: tuple[float, float]
    accuracy_loss_ci: tuple[float, float]
    broken_limits: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Share of correct responses."""
        return self.scores["accuracy"]

    @property
    def headline(self) -> dict[str, Any]:
        """Accuracy, for metrics.json."""
        return {"headline": "accuracy", "quality": self.score}

    def brief(self) -> str:
        """Return the accuracy in words."""
        return f"accuracy {_percent(self.score)}"

    def describe(self) -> str:
        """Return the accuracy with its interval."""
        return f"{self.brief()} (between {_percents(self.accuracy_ci)})"

    def loss(self) -> str:
        """Return the interval of the accuracy lost against dense, in words."""
        return f"between {_percents(self.accuracy_loss_ci)} of accuracy lost"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for comparison.json."""
        return {
            **self.scores,
            **low_and_high("accuracy", self.accuracy_ci),
            **low_and_high("accuracy_loss", self.accuracy_loss_ci),
            "worst_class": self.worst_class,
            "broken_limits": list(self.broken_limits),
        }


class Examiner:
    """Evaluator of sessions on the test split, clean and corrupted, compared with dense's outputs.

    Args:
        inputs: model inputs (n, ...).
        labels: (n,).
        class_names: names of the labels.
        settings: the group `evaluate`.
        seed: seed of the corruptions.
        trusted: packages whose classes a measure's ``_target_`` may name.

    Raises:
        ConfigError: there is no sample, a label is out of range, or a measure cannot be created.
    """

    def __init__(
        self,
        inputs: Array,
        labels: Labels,
        class_names: Sequence[str],
        settings: EvaluateConfig,
        *,
        seed: int,
        trusted: Sequence[str],
    ) -> None:
        if len(inputs) == 0:
            raise ConfigError("The test split is empty, so quality cannot be measured.")
        if not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            raise ConfigError(
                f"The test split has labels from {labels.min()} to {labels.max()}, and data names {len(class_names)} "
                f"classes: labels go from 0 to {len(class_names) - 1}. Fix the labels, or name all classes."
            )
        self._inputs, self._labels, self._class_names = inputs, labels, class_names
        self._corrupted = {name: corrupt(name, inputs[:_CORRUPTED], seed=seed) for name in settings.corruptions}
        self._confidence = settings.confidence
        self._max_losses = {"accuracy": settings.max_quality_loss} | settings.max_losses
        self._measures = own_measures(settings, trusted=trusted)

    def examine(self, sessions: Mapping[str, Session]) -> dict[str, Quality]:
        """Return name -> quality.

        Args:
            sessions: variant@runtime -> session. The first one with dense is the reference.

        Raises:
            ConfigError: there is no dense variant, or a limit names a measure that this model does not have.
            OverwinterError: an output is NaN or infinite, or one of your measures fails or is not a number.
        """
        dense = next((name for name in sessions if name.partition("@")[0] == DENSE), None)
        if dense is None:
            raise ConfigError(
                "No runtime runs the dense model, so there is nothing to compare with. Add one to evaluate.runtimes."
            )
        reference = predict_all(sessions[dense], self._inputs)
        found = {name: self._quality(session, reference) for name, session in sessions.items()}
        return {
            name: replace(each, broken_limits=_broken(each.scores, found[dense].scores, self._max_losses))
            for name, each in found.items()
        }

    def _quality(self, session: Session, reference: Array) -> Quality:
        logits, labels = predict_all(session, self._inputs), self._labels
        worst, worst_accuracy = worst_class(logits, labels)
        scores = {"accuracy": accuracy(logits, labels)}
        if logits.shape[1] > _TOP:
            scores["top5_accuracy"] = top_accuracy(logits, labels, _TOP)
        scores |= {
            "calibration_error": calibration_error(logits, labels),
            "agreement_with_dense": agreement(logits, reference),
            "worst_class_accuracy": worst_accuracy,
        }
        for name, inputs in self._corrupted.items():
            scores[f"accuracy_{name}"] = accuracy(predict_all(session, inputs), labels[:_CORRUPTED])
        scores |= {name: _number(name, measure, logits, labels) for name, measure in self._measures.items()}
        right, dense_right = (given.argmax(axis=1) == labels for given in (logits, reference))
        return Quality(
            scores=scores,
            worst_class=str(self._class_names[worst]),
            accuracy_ci=share_interval(right, confidence=self._confidence),
            accuracy_loss_ci=loss_interval(dense_right, right, confidence=self._confidence),
        )


def predict_all(session: Session, inputs: Array) -> Array:
    """Return the logits (n, classes) of all inputs (n, ...).

    Raises:
        OverwinterError: an output is NaN or infinite.
    """
    outputs = []
    for begin in range(0, len(inputs), _BATCH):
        logits = session.run(inputs[begin : begin + _BATCH])  # (batch, classes)
        if not np.isfinite(logits).all():
            raise OverwinterError(f"An output for the test samples {begin} to {begin + len(logits) - 1} is not finite.")
        outputs.append(logits)
    return np.concatenate(outputs)


def own_measures(settings: EvaluateConfig, *, trusted: Sequence[str]) -> dict[str, Measure]:
    """Create the user's measures, by name; also called before training, to check them.

    Args:
        settings: the group `evaluate`.
        trusted: packages whose classes a measure's ``_target_`` may name.

    Raises:
        ConfigError: a measure cannot be created, or cannot be called.
    """
    return {name: _measure(name, node, trusted) for name, node in settings.measures.items()}


def _measure(name: str, node: Mapping[str, Any], trusted: Sequence[str]) -> Measure:
    try:
        measure = instantiate(node, MEASURE, _is_callable, trusted=trusted)
    except ConfigError as error:
        raise ConfigError(f"evaluate.measures.{name}: {error}\n{_A_MEASURE}") from None
    return cast(Measure, measure)


def _is_callable(found: type) -> bool:
    return any("__call__" in vars(base) for base in found.__mro__)


def _number(name: str, measure: Measure, logits: Array, labels: Labels) -> float:
    try:
        value: Any = measure(logits, labels)
    except Exception as error:
        raise OverwinterError(
            f"evaluate.measures.{name} failed: {type(error).__name__}: {error}.\n{_A_MEASURE} "
            "OVERWINTER_DEBUG=1 shows the traceback."
        ) from error
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise OverwinterError(
            f"evaluate.measures.{name} returned {value!r}, which is not a finite number. {_A_MEASURE}"
        )
    return number


def _broken(
    scores: Mapping[str, float], dense: Mapping[str, float], max_losses: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the broken limits. A loss of exactly the limit is allowed: differences have rounding errors."""
    for name in max_losses:
        if name not in scores:
            raise ConfigError(
                f"evaluate.max_losses.{name}: this model has no such measure. It has {', '.join(scores)}."
            )
    return tuple(
        f"{name} {scores[name]:.4f}, dense {dense[name]:.4f}"
        for name, allowed in max_losses.items()
        if _worse_by(name, scores[name], dense[name]) > allowed + 1e-12
    )


def _worse_by(name: str, value: float, dense: float) -> float:
    return value - dense if name in _LESS_IS_BETTER else dense - value


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _percents(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * low:.2f} and {100 * high:.2f} %"
