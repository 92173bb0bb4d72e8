"""A trained model as the teacher of another: a saved one, or a bundle on whatever runtime it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from overwinter.bundle.load import AwakeModel, wake
from overwinter.data.protocol import Batch
from overwinter.errors import ConfigError
from overwinter.inputs import to_arrays
from overwinter.models import load_model
from overwinter.paths import local_path
from overwinter.tasks import Task


def load_teacher(place: str, samples: Batch, task: Task, *, trusted: Sequence[str]) -> nn.Module:
    """Return the teacher that the setting ``train.teacher`` names.

    Args:
        place: folder of a saved model (model.json and weights.safetensors) or of a bundle.
        samples: a few real inputs (n, ...) and read targets (n, ...), to try it on.
        task: what it must be for.
        trusted: packages whose classes it may name.

    Raises:
        ConfigError: there is no such folder, or the teacher takes other inputs or gives other outputs.
        IntegrityError: it is damaged.
    """
    folder = local_path(place, key="train.teacher")
    saved = (folder / "model.json").is_file()
    teacher = load_model(folder, trusted=trusted) if saved else _Bundled(wake(folder, trusted=trusted))
    inputs, targets = samples
    try:
        with torch.no_grad():
            task.check_outputs(teacher.eval()(inputs).float().numpy(), targets.numpy())
    except Exception as error:
        raise ConfigError(f"train.teacher={place!r} cannot teach this task: {type(error).__name__}: {error}") from error
    return teacher


class _Bundled(nn.Module):
    """A woken bundle, called like a module; it computes on the CPU, and passes no gradient on."""

    def __init__(self, model: AwakeModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, inputs: Any) -> torch.Tensor:
        """Return outputs (n, ...) of inputs (n, ...)."""
        first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
        return torch.from_numpy(self._model.run(to_arrays(inputs))).to(first.device)
