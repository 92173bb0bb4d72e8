"""The settings of the sparsifiers: the group `sparsify/`. What needs torch is imported by `open`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from overwinter.config.groups.plugin import PluginConfig
from overwinter.config.groups.training import FitConfig, TrainConfig
from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.sparsity.n_of_m import read_pattern
from overwinter.training.qat import settings as qat

if TYPE_CHECKING:
    from torch import nn

    from overwinter.sparsity.protocol import Sparsifier

NONE, FIT, RECONSTRUCT, DISTILL = "none", "fit", "reconstruct", "distill"
RECOVERIES = (NONE, FIT, RECONSTRUCT, DISTILL)


@dataclass(frozen=True, kw_only=True)
class AmountSearch:
    """The search for the largest amount that quality allows.

    Attributes:
        least: smallest amount, 0 to below 1.
        most: largest amount, above it.
        max_quality_loss: of the headline measure against dense, see `overwinter.tasks.Measure.loss`.
        trials: at most, at least 2.
    """

    least: float
    most: float
    max_quality_loss: float
    trials: int


@dataclass
class SparsifyConfig(PluginConfig):
    """The settings of any sparsifier: of those in `configs/sparsify/`, and of entry points of other packages."""

    version: int = setting("raised when the stage's behaviour changes")
    method: str = MISSING

    @abstractmethod
    def open(self) -> Sparsifier:
        """Make the sparsifier."""

    def check_model(self, model: nn.Module) -> None:
        """Refuse a model that the sparsifier cannot serve, before it is trained.

        Raises:
            ConfigError: with what to change.
        """

    def fine_tuning(self) -> FineTuningConfig | None:
        """Return how the model is fine-tuned; None: it is not."""
        return None

    def fit_key(self) -> str:
        """Return where the settings of the fine-tuning's loop are, for messages."""
        return "sparsify.fit"

    def amount_search(self) -> AmountSearch | None:
        """Return how ``amount`` is searched; None: it is what is removed."""
        return None


@dataclass
class NoSparsifyConfig(SparsifyConfig):
    """Nothing is removed."""

    def open(self) -> Sparsifier:
        """Make the sparsifier."""
        from overwinter.sparsity.nothing import Nothing

        return Nothing(self)


@dataclass
class FineTuningConfig:
    """The settings of a fine-tuning with the dense model as its teacher (Hinton et al. 2015)."""

    distillation_weight: float = setting(
        "share of the loss that follows the dense model's predictions, 0 to 1", at_least=0, at_most=1
    )
    distillation_temperature: float = setting("softens both models' predictions", above=0)
    distillation_features: list[str] = setting(
        "layers whose outputs follow those of the dense model's, too, such as [features.3]"
    )
    distillation_feature_weight: float = setting(
        "of their squared differences in the loss, as shares of the dense model's mean square", at_least=0
    )
    fit: FitConfig = setting("the fine-tuning; the keys are those of train", default_factory=FitConfig)


@dataclass
class FineTunedSparsifyConfig(FineTuningConfig, SparsifyConfig):
    """The settings of any sparsifier that removes while, or before, the model is fine-tuned."""

    amount: float = setting("share removed, 0 to below 1", at_least=0, below=1)
    skip: list[str] = setting("name patterns of layers left unchanged, such as features.0.*")

    def fine_tuning(self) -> FineTuningConfig:
        """Return the settings of the fine-tuning: these."""
        return self


@dataclass
class MagnitudeConfig(FineTunedSparsifyConfig):
    """Gradual magnitude pruning with the cubic schedule (Zhu and Gupta, 2017)."""

    amount: float = setting("share of the prunable weights, 0 to below 1", at_least=0, below=1)
    scope: str = setting(
        "global ranks all prunable weights together, layer each layer by itself", choices=("global", "layer")
    )
    ramp_fraction: float = setting(
        "share of the fine-tuning in which the sparsity rises (cubic schedule); the rest recovers", above=0, at_most=1
    )
    update_interval_steps: int = setting("optimizer steps between two updates of the masks", at_least=1)

    def open(self) -> Sparsifier:
        """Make the sparsifier."""
        from overwinter.sparsity.magnitude import Magnitude

        return Magnitude(self)


@dataclass
class ChannelsConfig(FineTunedSparsifyConfig):
    """Channels, heads and hidden units physically removed, the least important first, so that a CPU gains too."""

    amount: float = setting("share of what amount_of names, 0 to below 1", at_least=0, below=1)
    amount_of: str = setting(
        "channels: of those that can go; flops: of the model's floating-point operations for a sample",
        choices=("channels", "flops"),
        default="channels",
    )
    ratio: str = setting(
        "uniform: the same share of every layer; global: all ranked together, each against its layer's mean",
        choices=("uniform", "global"),
        default="uniform",
    )
    importance: str = setting(
        "of a channel: magnitude, the norms of its weights; taylor, how the loss would change without it, by gradients",
        choices=("magnitude", "taylor"),
        default="magnitude",
    )
    calibration_samples: int = setting("training samples from which taylor takes gradients", at_least=1, default=256)
    structures: list[str] = setting(
        "what goes: channels of convolutions, heads of attention, neurons (hidden units) of linear layers",
        choices=("channels", "heads", "neurons"),
        default_factory=lambda: ["channels", "heads", "neurons"],
    )
    multiple_of: int = setting(
        "what stays is a multiple of it where it was one: kernels compute 8 or 16 channels at once",
        at_least=1,
        default=1,
    )

    def open(self) -> Sparsifier:
        """Make the sparsifier."""
        from overwinter.sparsity.channels import Channels

        return Channels(self)


@dataclass
class RiglConfig:
    """Training with few weights from the first step on (RigL; Evci et al., 2020)."""

    amount: float = setting("share of the prunable weights that is always zero, 0 to below 1", at_least=0, below=1)
    ratios: str = setting(
        "uniform: every layer has the same share; erk: small layers keep more (Erdos-Renyi-Kernel)",
        choices=("uniform", "erk"),
    )
    update_interval_steps: int = setting("optimizer steps between two exchanges of weights", at_least=1)
    update_fraction: float = setting(
        "share of a layer's kept weights that the first exchange replaces; falls to 0 along a cosine",
        at_least=0,
        at_most=1,
    )
    stop_fraction: float = setting("share of all steps after which no weights are exchanged", at_least=0, at_most=1)
    skip: list[str] = setting("name patterns of layers that keep all weights, such as features.0.*")


@dataclass
class SparseTrainConfig(TrainConfig):
    """The settings of the stage `train`, sparse from the start."""

    sparse: RiglConfig = field(default_factory=RiglConfig)

    def check(self, key: str) -> None:
        """Refuse weights that are not trained."""
        super().check(key)
        if self.method == "pretrained":
            raise ConfigError(f"{key}.sparse trains from fresh weights, and {key}.method=pretrained does not train.")

    def sparse_from_start(self) -> RiglConfig:
        """Return how few weights are trained."""
        return self.sparse


def train_schema(group: Mapping[str, Any]) -> type[TrainConfig]:
    """Return the schema of the group `train`: sparse from the start, quantization-aware, with adapters, or plain.

    Raises:
        ConfigError: two of them at once.
    """
    if "sparse" not in group:
        return qat.train_schema(group)
    for other in ("qat", "lora"):
        if other in group:
            raise ConfigError(f"train.sparse and train.{other} cannot be trained together. Choose one.")
    return SparseTrainConfig


@dataclass
class SparseGptConfig:
    """The settings of the score `sparsegpt`."""

    dampening: float = setting("added to the Hessian's diagonal, as a share of its mean", above=0, at_most=1)
    column_block: int = setting("columns whose removals are chosen together", at_least=1)


@dataclass
class RecoveryConfig:
    """How the kept weights of a model that was pruned at once make up for the others; the zeros stay."""

    method: str = setting(
        "none; reconstruct (block by block) or distill (end to end), both without targets; fit (see fine_tuning)",
        choices=RECOVERIES,
    )
    steps: int = setting("of Adam on the calibration samples; of reconstruct, for each block", at_least=1)
    learning_rate: float = setting("of the first step; it falls to 0 along a cosine", above=0)
    batch_size: int = setting("calibration samples of a step", at_least=1)
    fine_tuning: FineTuningConfig | None = setting(
        "of fit only: {distillation_weight: 0.5, ..., fit: {epochs: 3, ...}}, the keys of sparsify=magnitude"
    )

    def check(self, key: str) -> None:
        """Refuse fine-tuning without its settings, and the settings without it."""
        if (self.method == FIT) != (self.fine_tuning is not None):
            raise ConfigError(
                f"{key}.method={self.method} and {key}.fine_tuning contradict each other: settings of a fine-tuning "
                f"belong to fit alone. Set {key}.method=fit with them, or {key}.fine_tuning=null."
            )


@dataclass
class OneShotConfig(SparsifyConfig):
    """Single weights removed at once, by magnitude, Wanda or SparseGPT, block by block; then the others recover."""

    amount: float = setting("share of the weights, 0 to below 1; of N:M it is 1 - N / M", at_least=0, below=1)
    score: str = setting(
        "magnitude, wanda (times the input's norm) or sparsegpt (the others are moved to make up for it)",
        choices=("magnitude", "wanda", "sparsegpt"),
    )
    pattern: str = setting("unstructured, or N:M such as '2:4': of every 4 weights of a row, 2 are kept")
    scope: str = setting(
        "weights compete within an output's row, a layer, or all layers, global; of N:M within their group",
        choices=("row", "layer", "global"),
    )
    ratios: str = setting(
        "uniform (the same share of every layer), erk (small layers keep more) or sensitivity (error on calibration)",
        choices=("uniform", "erk", "sensitivity"),
    )
    skip: list[str] = setting("name patterns of layers left unchanged, such as features.0.*")
    head: bool = setting("of language models: whether layers outside the blocks are pruned too; tied ones never are")
    swaps: int = setting("rounds in which a kept and a removed weight of each row may change places", at_least=0)
    calibration_samples: int = setting(
        "samples that the inputs' statistics come from; 0: none, which only magnitude allows", at_least=0
    )
    calibration_text: str = setting(
        "of language models: data (training split), generated (by the dense model), both (as many windows of each)",
        choices=("data", "generated", "both"),
    )
    sparsegpt: SparseGptConfig = setting("of the score sparsegpt only", default_factory=SparseGptConfig)
    max_quality_loss: float | None = setting(
        "null: amount is removed; else the most up to it that costs no more of the headline measure on validation",
        at_least=0,
    )
    min_amount: float = setting("of the search with max_quality_loss", at_least=0, below=1)
    trials: int = setting("of the search with max_quality_loss, at most", at_least=2)
    recovery: RecoveryConfig = setting(
        "afterwards, the kept weights follow the dense model", default_factory=RecoveryConfig
    )

    def check(self, key: str) -> None:
        """Refuse settings that contradict each other."""
        self._check_pattern(key)
        self.recovery.check(f"{key}.recovery")
        self._check_search(key)
        if self.scope == "global" and self.ratios != "uniform":
            raise ConfigError(
                f"{key}.scope=global finds each layer's share itself, and {key}.ratios={self.ratios} gives it. "
                f"Set {key}.ratios=uniform, or {key}.scope=layer."
            )
        needing = {
            f"{key}.score={self.score}": self.score != "magnitude",
            f"{key}.swaps={self.swaps}": self.swaps > 0,
            f"{key}.ratios={self.ratios}": self.ratios == "sensitivity",
            f"{key}.recovery.method={self.recovery.method}": self.recovery.method in (RECONSTRUCT, DISTILL),
        }
        for reason, needs in needing.items():
            if needs and self.calibration_samples == 0:
                raise ConfigError(f"{reason} needs calibration. Set {key}.calibration_samples to at least 1.")

    def _check_search(self, key: str) -> None:
        if self.max_quality_loss is None:
            return
        if self.min_amount >= self.amount:
            raise ConfigError(
                f"{key}.max_quality_loss searches from {key}.min_amount={self.min_amount:g} up to "
                f"{key}.amount={self.amount:g}, which is not more. Raise {key}.amount."
            )
        if read_pattern(self.pattern) is not None or self.recovery.method == FIT:
            raise ConfigError(
                f"{key}.max_quality_loss searches an amount, which {key}.pattern={self.pattern} fixes or "
                f"{key}.recovery.method={self.recovery.method} trains anew each time. "
                f"Set {key}.pattern=unstructured and another {key}.recovery.method, or {key}.max_quality_loss=null."
            )

    def _check_pattern(self, key: str) -> None:
        pattern = read_pattern(self.pattern)
        if pattern is None:
            return
        if abs(self.amount - pattern.amount) > 1e-6:
            raise ConfigError(
                f"{key}.pattern={pattern} removes {pattern.amount:g} of the weights, and {key}.amount={self.amount:g}. "
                f"Set {key}.amount={pattern.amount:g}."
            )
        if self.scope == "global" or self.ratios != "uniform":
            raise ConfigError(
                f"{key}.pattern={pattern} removes the same share of every layer. "
                f"Set {key}.ratios=uniform, and {key}.scope to row or layer."
            )
        if self.score == "sparsegpt" and self.sparsegpt.column_block % pattern.of:
            raise ConfigError(
                f"{key}.sparsegpt.column_block={self.sparsegpt.column_block} cuts groups of {pattern.of}. "
                f"Set it to a multiple of {pattern.of}."
            )

    def fine_tuning(self) -> FineTuningConfig | None:
        """Return how the model is fine-tuned; None: it is not."""
        return self.recovery.fine_tuning

    def fit_key(self) -> str:
        """Return where the settings of the fine-tuning's loop are: with the recovery."""
        return "sparsify.recovery.fine_tuning.fit"

    def amount_search(self) -> AmountSearch | None:
        """Return how ``amount`` is searched; None: it is what is removed."""
        if self.max_quality_loss is None:
            return None
        return AmountSearch(
            least=self.min_amount, most=self.amount, max_quality_loss=self.max_quality_loss, trials=self.trials
        )

    def check_model(self, model: nn.Module) -> None:
        """Refuse a name pattern that fits no layer, and a model of which no layer can be pruned."""
        from overwinter.sparsity.layers import choose_layers

        choose_layers(model, self)

    def open(self) -> Sparsifier:
        """Make the sparsifier."""
        from overwinter.sparsity.one_shot import OneShot

        return OneShot(self)
