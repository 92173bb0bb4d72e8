"""Loss and measures of a model on a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.data import Split
from overwinter.inputs import move
from overwinter.tasks import Task, join_rows
from overwinter.training.device import Layout, pick_layout

_BATCH_SIZE = 256
_TRIED = 8  # samples


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good a model is on a split.

    Attributes:
        loss: mean of the task's loss.
        measures: name -> figure, of all of the task's measures.
    """

    loss: float
    measures: Mapping[str, float]


def evaluate(model: nn.Module, split: Split, task: Task, *, layout: Layout | None = None) -> Score:
    """Score a model in evaluation mode, in fp32; its mode is put back.

    Args:
        model: on any device; the samples are brought to it.
        split: read in batches; what the measures need of each sample is kept until the end.
        task: has the loss and the measures.
        layout: of the batches in memory; None finds out which one the model takes.
    """
    samples = split.use(task)
    with torch.inference_mode():
        return _evaluate(model, samples, task, layout or pick_layout(model, samples.first(_TRIED)[0]))


def _evaluate(model: nn.Module, split: Split, task: Task, layout: Layout) -> Score:
    was_training = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    model.eval()
    loss, count, rows = 0.0, 0, []
    for inputs, targets in split.batches(_BATCH_SIZE):
        outputs = model(layout(move(inputs, device))).float()  # (batch, ...)
        loss += float(task.loss(outputs, targets.to(device))) * len(targets)
        count += len(targets)
        rows.append(task.rows(outputs.cpu().numpy(), targets.numpy()))
    model.train(was_training)
    return Score(loss=loss / count, measures=task.measure(join_rows(rows)))
