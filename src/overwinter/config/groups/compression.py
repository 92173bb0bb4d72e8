"""The group `sparsify/`: one schema per method, found by the method's name."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from overwinter.config.groups.training import FitConfig


@dataclass
class SparsifyConfig:
    """What every method of the stage `sparsify` has. The method `none` has nothing else.

    Attributes:
        version: raised when the stage's behaviour changes, so that cached results of the old code are not reused.
        method: `none`, `magnitude`, `channels`, or the name of an entry point in `overwinter.sparsifiers`.
    """

    version: int = MISSING
    method: str = MISSING


@dataclass
class FineTunedSparsifyConfig(SparsifyConfig):
    """A method that removes while it fine-tunes.

    Attributes:
        amount: share removed, 0 to below 1: of the prunable weights (`magnitude`), of each layer's channels
            (`channels`).
        skip: name patterns (fnmatch) of layers left alone.
        distillation_weight: share of the loss that follows the dense model's answers, 0 to 1.
        distillation_temperature: softens both models' answers (Hinton et al. 2015).
        fit: the fine-tuning.
    """

    amount: float = MISSING
    skip: list[str] = MISSING
    distillation_weight: float = MISSING
    distillation_temperature: float = MISSING
    fit: FitConfig = field(default_factory=FitConfig)


@dataclass
class MagnitudeConfig(FineTunedSparsifyConfig):
    """Gradual magnitude pruning with the cubic schedule (Zhu and Gupta, 2017).

    Attributes:
        scope: `global` ranks all prunable weights together, `layer` each layer by itself.
        ramp_fraction: share of the fine-tuning's steps over which the sparsity rises; the rest recovers.
        update_interval_steps: steps between two updates of the masks.
    """

    scope: str = MISSING
    ramp_fraction: float = MISSING
    update_interval_steps: int = MISSING


@dataclass
class ChannelsConfig(FineTunedSparsifyConfig):
    """Channels and hidden units physically removed, by the norm of their weights, so that a CPU gains too."""
