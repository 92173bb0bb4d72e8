"""What a quantizer is given, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from overwinter.inputs import Inputs
from overwinter.progress import Progress, silent
from overwinter.quantization.layer_sensitivity import LayerDamage
from overwinter.quantization.settings import CalibratedQuantizeConfig
from overwinter.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Request:
    """A float model that was checked, and what is wanted of it.

    Attributes:
        model: in evaluation mode; the quantizer may change it.
        description: its ``model.json``.
        calibration: batches of model inputs (n, ...), each collated by itself: their lengths may differ.
        task: what the model is for: it says how far outputs are apart.
        settings: the group `quantize`.
        lineage: digests of what the variant is made from.
        trusted: packages whose classes the model's ``_target_`` may name, beside overwinter's and torch.nn's.
        out: existing folder of the variant.
        device: on which variants will be served; only variants that no CPU computes are made for it.
        compute_device: that calibrates, solves, recovers and judges layers, wherever variants will be served.
        fixed: layer -> why no other layer can take its place, see `overwinter.models.fixed_weights`.
        distillation: further batches, on which scales are distilled beside the calibration's.
        progress: to be called with how far the method has come, and with all of it; it may raise, to stop the method.
    """

    model: nn.Module
    description: Mapping[str, Any]
    calibration: tuple[Inputs, ...]
    task: Task
    settings: CalibratedQuantizeConfig
    lineage: Mapping[str, Any]
    trusted: Sequence[str]
    out: Path
    device: str = "cpu"
    compute_device: str = "cpu"
    fixed: Mapping[str, str] = field(default_factory=dict)
    distillation: tuple[Inputs, ...] = ()
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """What became of the model.

    Attributes:
        quantized: layers now in integers.
        left_in_float: layer with weights -> why it was not quantized.
        zeros_before: zero weights of the quantized layers, before.
        zeros_after: and after; rounding may add some, and none was lost.
        size_bytes: of the variant's files.
        float_size_bytes: of the float model's files.
        untied: layers whose weight another name had too; quantized, each has its own.
        sensitivity: layer -> its damage, the worst first; empty if it was not asked for.
        agreement: of the predictions on held-out samples with the dense model's, 0 to 1: see `overwinter.tasks.Task`;
            None: not measured yet.
    """

    quantized: tuple[str, ...]
    left_in_float: Mapping[str, str]
    zeros_before: int
    zeros_after: int
    size_bytes: int
    float_size_bytes: int
    untied: tuple[str, ...] = ()
    sensitivity: Mapping[str, LayerDamage] = field(default_factory=dict)
    agreement: float | None = None

    def to_metrics(self) -> dict[str, float]:
        """Return the numbers for metrics.json."""
        return {
            "layers_quantized": len(self.quantized),
            "layers_left_in_float": len(self.left_in_float),
            "layers_untied": len(self.untied),
            "zeros_before": self.zeros_before,
            "zeros_after": self.zeros_after,
            "size_bytes": self.size_bytes,
            "size_ratio": self.float_size_bytes / self.size_bytes,
        } | ({} if self.agreement is None else {"agreement": self.agreement})


class Quantizer(Protocol):
    """Makes one variant. Made without arguments; registered under the method's name.

    One whose variant some devices cannot compute also has ``device_refusal(device) -> str | None``, which says why, and
    puts ``"device": "cuda"`` into the ``quantization`` of its ``model.json``.
    """

    def quantize(self, request: Request) -> QuantizationReport:
        """Write the variant to ``request.out`` and report.

        Raises:
            ConfigError: the method serves none of the model's layers.
        """
