"""Loss and measures of a model on a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.data import Split
from overwinter.inputs import fitting_batch, move, named
from overwinter.progress import Progress, silent
from overwinter.tasks import Task, join_rows
from overwinter.training.device import Layout, pick_layout
from overwinter.training.precision import autocast

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


def evaluate(
    model: nn.Module,
    split: Split,
    task: Task,
    *,
    layout: Layout | None = None,
    precision: str = "fp32",
    progress: Progress = silent,
) -> Score:
    """Score a model in evaluation mode; its mode is put back.

    Args:
        model: on any device; the samples are brought to it.
        split: read in batches; what the measures need of each sample is kept until the end.
        task: has the loss and the measures.
        layout: of the batches in memory; None finds out which one the model takes.
        precision: in which it multiplies, as in `FitConfig`; its outputs are fp32.
        progress: called with the samples done and the total.
    """
    samples = split.use(task)
    with torch.inference_mode():
        arranged = layout or pick_layout(model, samples.first(_TRIED)[0])
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        with autocast(device, precision):
            return _evaluate(model, samples, task, arranged, device, progress)


def _evaluate(
    model: nn.Module, split: Split, task: Task, layout: Layout, device: torch.device, progress: Progress
) -> Score:
    was_training = model.training
    model.eval()
    loss, count, rows = 0.0, 0, []
    for inputs, targets in split.batches(_batch_size(model, split, device)):
        outputs = model(layout(move(inputs, device))).float()  # (batch, ...)
        loss += float(task.loss(outputs, targets.to(device))) * len(targets)
        count += len(targets)
        rows.append(task.rows(outputs.cpu().numpy(), targets.numpy()))
        progress(count, split.size or count)
    model.train(was_training)
    return Score(loss=loss / count, measures=task.measure(join_rows(rows)))


def _batch_size(model: nn.Module, split: Split, device: torch.device) -> int:
    inputs = split.first(1)[0]
    outputs = model(move(inputs, device))
    return fitting_batch(outputs.nbytes + sum(each.nbytes for each in named(inputs).values()))
