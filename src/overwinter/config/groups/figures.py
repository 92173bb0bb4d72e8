"""Names of figures: those in comparison.json, that limits may name and own measures may not take; and of targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from overwinter.config.groups.task import OwnTaskConfig
from overwinter.config.groups.training import fits_of
from overwinter.errors import ConfigError, nearest

if TYPE_CHECKING:
    from overwinter.config.groups import Config

AGREEMENT, DIVERGENCE, LOSS = "agreement_with_dense", "divergence_from_dense", "loss"
COSTS = (
    "cpu_s_per_response",
    "cpu_s_per_response_high",
    "cpu_s_per_response_low",
    "energy_above_idle_per_response_j",
    "energy_per_response_high_j",
    "energy_per_response_j",
    "energy_per_response_low_j",
    "gpu_energy_per_response_j",
    "latency_p50_s",
    "latency_p95_s",
    "load_s",
    "peak_gpu_memory_bytes",
    "peak_memory_bytes",
    "responses_per_s",
    "size_bytes",
)
_OTHERS = ("at_batch", "batch_size", "broken_limits", "measured", "origin", "worst_class")
_MANY_LABELS = ("",) * 100  # some measures, such as the top 5, are only of tasks with many classes


class MeasuringTask(Protocol):
    """The measures of a task (`overwinter.tasks.Task`)."""

    name: str
    headline: Any

    @property
    def measures(self) -> Mapping[str, Any]: ...  # noqa: D102 - name -> measure


def check_figure_names(config: Config) -> None:
    """Check the names in limits and of own measures, as far as the configuration alone tells them.

    The measures of a task of your own are known once its class is imported, and checked before training.

    Raises:
        ConfigError: a name is unknown or taken, with those that are known.
    """
    quality = config.budget.quality
    named = [config.evaluate.max_losses, config.evaluate.measures, quality.at_least, quality.at_most]
    asked = any(named) or quality.min_quality is not None
    if asked and "evaluate" in config.pipeline.stages and not isinstance(config.task, OwnTaskConfig):
        refuse_unknown_figures(config, config.task.open(_MANY_LABELS))


def check_target_names(config: Config) -> None:
    """Check the measures at which fits stop (`to`), as far as the configuration alone tells them.

    Those of a task of your own are known once its class is imported, and checked before training.

    Raises:
        ConfigError: as `refuse_wrong_target`.
    """
    if isinstance(config.task, OwnTaskConfig):
        return
    for key, fit in fits_of(config).items():
        if fit.to is not None:
            refuse_wrong_target(fit.to, config.task.open(_MANY_LABELS), key=f"{key}.to")


def refuse_wrong_target(to: Mapping[str, float], task: MeasuringTask, *, key: str) -> None:
    """Refuse a target of a fit that is not one measure of the task, or that it cannot have.

    Args:
        to: a measure and its value.
        task: has the measures.
        key: of the setting, for messages.

    Raises:
        ConfigError: it names another number of measures than one, or one that the task does not have, or a share that
            is not from 0 to 1.
    """
    if len(to) != 1:
        raise ConfigError(
            f"{key}={dict(to)} must name one measure and its value, such as {{{task.headline.name}: 0.9}}."
        )
    ((name, value),) = to.items()
    if name not in task.measures:
        raise ConfigError(
            f"{key}={dict(to)} names {name!r}, which the task {task.name} does not measure. "
            f"Known: {', '.join(task.measures)}.{nearest(name, task.measures)}\n"
            f"Set {key}={{MEASURE: VALUE}} with one of them, or null for all epochs."
        )
    if task.measures[name].in_per_cent and not 0 <= value <= 1:
        raise ConfigError(f"{key}={dict(to)}: {name} is from 0 to 1, so 0.9 is 90 %.")


def refuse_unknown_figures(config: Config, task: MeasuringTask) -> None:
    """Refuse limits on figures that comparison.json will not have, and own measures with the name of another figure.

    Raises:
        ConfigError: a name is unknown or taken, with those that are known.
    """
    evaluate, quality, headline = config.evaluate, config.budget.quality, task.headline.name
    if quality.min_quality is not None and task.headline.in_per_cent and not 0 <= quality.min_quality <= 1:
        raise ConfigError(
            f"budget.quality.min_quality={quality.min_quality:g}: {headline}, the headline measure, is from 0 to 1."
            " Write 0.97 for 97 %."
        )
    built_in = [*task.measures, LOSS, AGREEMENT, DIVERGENCE]
    built_in += [f"{headline}_{name}" for name in evaluate.corruptions]
    ends = [f"{name}_{end}" for name in (headline, f"{headline}_loss") for end in ("low", "high")]
    for name in evaluate.measures:
        if name in (*built_in, *ends, *COSTS, *_OTHERS):
            raise ConfigError(f"evaluate.measures.{name}: this is the name of a built-in figure. Rename the measure.")
    measures = [*built_in, *evaluate.measures]
    _refuse("evaluate.max_losses", evaluate.max_losses, [name for name in measures if name != headline])
    for key in ("at_least", "at_most"):
        _refuse(f"budget.quality.{key}", getattr(quality, key), [*measures, *ends, *COSTS])


def _refuse(key: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{key} names {name!r}, which is unknown. Known: {', '.join(known)}.{nearest(name, known)}"
            )
