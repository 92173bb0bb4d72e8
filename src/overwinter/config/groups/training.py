"""The group `train/`, and the fine-tuning that other stages share with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from overwinter.config.settings import setting


@dataclass
class FitConfig:
    """How a model is fitted: the training loop's settings, wherever it runs."""

    epochs: int = setting("passes over the training split, at most", at_least=1)
    batch_size: int = setting("samples per optimizer step", at_least=1)
    learning_rate: float = setting("peak learning rate of AdamW", above=0)
    weight_decay: float = setting("decoupled weight decay of AdamW, but for biases and normalisations", at_least=0)
    warmup_fraction: float = setting(
        "share of all steps in which the learning rate climbs; then a cosine to zero", at_least=0, at_most=1
    )
    gradient_clip_norm: float = setting("gradients are scaled down to this norm at most", above=0)
    label_smoothing: float = setting("label smoothing of the cross entropy", at_least=0, below=1)
    patience_epochs: int = setting(
        "stop after so many epochs without a better validation loss; 0 never stops early", at_least=0
    )
    precision: str = setting(
        "auto: bf16 where the accelerator has it, else fp32; or fp32, bf16", choices=("auto", "fp32", "bf16")
    )
    checkpoint_interval_s: float = setting("seconds between checkpoints on disk", at_least=0)


@dataclass
class TrainConfig(FitConfig):
    """The stage `train`."""

    version: int = setting("raised when the stage's behaviour changes")


@dataclass
class QatConfig:
    """Quantization-aware training of Linear and Conv2d layers.

    Attributes:
        rounding: `straight_through`; `relaxed` and `relaxed_straight_through` have keys of their own.
        scale: `observed` follows the range of the values; `learned` starts there and is trained like a weight.
        weight_bits: of the weights' codes, 2 to 8.
        group_size: inputs of one output channel that share a scale; null for one scale per output channel.
        symmetric: the weights' grid has its zero in the middle; else every group has a zero point.
        activation_bits: of the codes of the layers' inputs, 2 to 8; null leaves activations in floating point.
        start_fraction: share of all steps trained in floating point first, while ranges are watched.
        freeze_fraction: share of all steps after which scales and batch statistics stand still.
        skip: name patterns (fnmatch) of layers left in floating point.
    """

    rounding: str = MISSING
    scale: str = MISSING
    weight_bits: int = MISSING
    group_size: int | None = MISSING
    symmetric: bool = MISSING
    activation_bits: int | None = MISSING
    start_fraction: float = MISSING
    freeze_fraction: float = MISSING
    skip: list[str] = MISSING


@dataclass
class RelaxedQatConfig(QatConfig):
    """Relaxed quantization: a sample from a concrete distribution over grid points takes the place of rounding.

    Attributes:
        temperature: of the concrete distribution; towards 0 it is the discrete one.
        noise: scale of the logistic noise at the start, in grid steps; it is trained like a weight.
        final_noise_share: how much of the trained noise is left when scales freeze; until then it falls in a line.
        neighbours: grid points looked at on either side of the nearest one.
        relax_activations: whether activations are relaxed as well as weights; else they are rounded straight through.
    """

    temperature: float = MISSING
    noise: float = MISSING
    final_noise_share: float = MISSING
    neighbours: int = MISSING
    relax_activations: bool = MISSING


@dataclass
class QatTrainConfig(TrainConfig):
    """The stage `train`, quantization-aware.

    Attributes:
        qat: how.
    """

    qat: QatConfig = field(default_factory=QatConfig)


@dataclass
class RelaxedQatTrainConfig(QatTrainConfig):
    """The stage `train` with relaxed quantization.

    Attributes:
        qat: how.
    """

    qat: RelaxedQatConfig = field(default_factory=RelaxedQatConfig)
