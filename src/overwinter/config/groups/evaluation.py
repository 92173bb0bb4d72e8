"""The groups `evaluate/` and `hibernate/`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class EvaluateConfig:
    """The stage `evaluate`.

    Attributes:
        version: as in every stage.
        runtimes: which runtimes take part, among `torch`, `onnxruntime`.
        batch_sizes: each form is timed at each of them.
        choose_at_batch_size: the form with the fewest joules per answer at this batch size is chosen.
        max_quality_loss: how much of the dense model's quality a form may lose and still be chosen (0.01: one
            point).
        repeats: timed samples per form, runtime and batch size, interleaved in random order.
        sample_duration_s: least length of one timed sample; short answers are repeated to fill it.
        threads: CPU threads of every runtime.
        confidence: of the intervals, for instance 0.95.
    """

    version: int = MISSING
    runtimes: list[str] = MISSING
    batch_sizes: list[int] = MISSING
    choose_at_batch_size: int = MISSING
    max_quality_loss: float = MISSING
    repeats: int = MISSING
    sample_duration_s: float = MISSING
    threads: int = MISSING
    confidence: float = MISSING


@dataclass
class HibernateConfig:
    """The stage `hibernate`.

    Attributes:
        version: as in every stage.
        canary_samples: validation samples whose answers are recorded and asked for at every wake.
        canary_tolerance: largest allowed difference of a woken answer, relative to the largest recorded
            logit.
        wake_repeats: wakes in fresh processes whose median duration is reported.
    """

    version: int = MISSING
    canary_samples: int = MISSING
    canary_tolerance: float = MISSING
    wake_repeats: int = MISSING
