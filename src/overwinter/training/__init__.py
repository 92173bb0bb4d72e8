"""Training: one plain loop that fits a model, wherever in the pipeline it runs.

- `fit` is the loop; its settings are the configuration's `FitConfig`, its outcome a `FitResult`.
- `Checkpoints` keeps its state on disk: a fit that was killed goes on from the last checkpoint and, on a
  CPU with the same number of threads, ends with the very bits of an undisturbed one.
- `TaskLoss` and `DistillationLoss` are losses; a `Loss` is anything with their signature. `FeatureDistance` adds inner
  values by name to a distillation.
- `StepHook` lets a mask, a fake-quantizer or a growing sparsity take part in every step.
- `make_aware` is quantization-aware training (see `qat`): fake-quantizers in the model, their grids afterwards.
- `add_adapters` freezes a model and trains low-rank adapters beside its layers (see `lora`).
- `choose_batch_size` takes, of the batch sizes that are listed, the one with the fewest joules per sample.
- `look_ahead` tries a model and its data on one batch, before energy is spent; `check_pretrained` does for one that is
  taken as it is.
- `whiten_first_convolution` saves the first epochs what every first layer learns.
- `RankGroup` is who fits a model: this process `ALONE`, or (in `distributed`) several that torchrun started.
- `evaluate` gives loss and measures on a split; `pick_device` reads the setting `device`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.models import StepHook
    from overwinter.training.batch_size import choose_batch_size
    from overwinter.training.checkpoints import Checkpoints
    from overwinter.training.device import pick_device
    from overwinter.training.evaluation import Score, evaluate
    from overwinter.training.features import FeatureDistance
    from overwinter.training.loop import fit
    from overwinter.training.lora.adapters import Adapters, add_adapters
    from overwinter.training.losses import DistillationLoss, Loss, TaskLoss
    from overwinter.training.qat.awareness import Awareness, make_aware
    from overwinter.training.rank_group import ALONE, RankGroup
    from overwinter.training.result import EpochRecord, FitResult
    from overwinter.training.schedule import learning_rate_at
    from overwinter.training.trial import check_pretrained, look_ahead
    from overwinter.training.whitening import whiten_first_convolution

__all__ = [
    "ALONE",
    "Adapters",
    "Awareness",
    "Checkpoints",
    "DistillationLoss",
    "EpochRecord",
    "FeatureDistance",
    "FitResult",
    "Loss",
    "RankGroup",
    "Score",
    "StepHook",
    "TaskLoss",
    "add_adapters",
    "check_pretrained",
    "choose_batch_size",
    "evaluate",
    "fit",
    "learning_rate_at",
    "look_ahead",
    "make_aware",
    "pick_device",
    "whiten_first_convolution",
]

# Loaded when first used: settings are read without torch.
_HOMES = {
    "ALONE": "rank_group",
    "Adapters": "lora.adapters",
    "Awareness": "qat.awareness",
    "Checkpoints": "checkpoints",
    "DistillationLoss": "losses",
    "EpochRecord": "result",
    "FeatureDistance": "features",
    "FitResult": "result",
    "Loss": "losses",
    "RankGroup": "rank_group",
    "Score": "evaluation",
    "StepHook": "loop",
    "TaskLoss": "losses",
    "add_adapters": "lora.adapters",
    "check_pretrained": "trial",
    "choose_batch_size": "batch_size",
    "evaluate": "evaluation",
    "fit": "loop",
    "learning_rate_at": "schedule",
    "look_ahead": "trial",
    "make_aware": "qat.awareness",
    "pick_device": "device",
    "whiten_first_convolution": "whitening",
}

__getattr__ = lazily(__name__, _HOMES)
