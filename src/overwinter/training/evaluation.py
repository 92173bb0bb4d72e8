"""Loss and measures of a model on a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import nn

from overwinter.data import Split
from overwinter.inputs import fitting_batch, move, named, take
from overwinter.progress import Progress, silent
from overwinter.tasks import Rows, Task, join_rows
from overwinter.training.device import Layout, pick_layout
from overwinter.training.precision import autocast
from overwinter.training.rank_group import ALONE, RankGroup

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


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """A rank's part of one batch: its mean loss, its number of samples, and what the measures need of each."""

    loss: float
    samples: int
    rows: Rows


def evaluate(
    model: nn.Module,
    split: Split,
    task: Task,
    *,
    layout: Layout | None = None,
    precision: str = "fp32",
    progress: Progress = silent,
    ranks: RankGroup = ALONE,
) -> Score:
    """Score a model in evaluation mode; its mode is put back.

    Args:
        model: on any device; the samples are brought to it.
        split: read in batches; what the measures need of each sample is kept until the end.
        task: has the loss and the measures.
        layout: of the batches in memory; None finds out which one the model takes.
        precision: in which it multiplies, as in `FitConfig`; its outputs are fp32.
        progress: called with the samples done and the total.
        ranks: the processes that divide the batches among them; all get the same score.
    """
    samples = split.use(task)
    with torch.inference_mode():
        arranged = layout or pick_layout(model, samples.first(_TRIED)[0])
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        with autocast(device, precision):
            return _evaluate(model, samples, task, arranged, device, progress, ranks)


def _evaluate(
    model: nn.Module,
    split: Split,
    task: Task,
    layout: Layout,
    device: torch.device,
    progress: Progress,
    ranks: RankGroup,
) -> Score:
    was_training = model.training
    model.eval()
    found: list[_Scored] = []
    count = 0
    for inputs, targets in split.batches(_batch_size(model, split, device)):
        found.append(_scored(model, inputs, targets, task, layout, device, ranks.part(len(targets))))
        count += len(targets)
        progress(count, split.size or count)
    model.train(was_training)
    # (batches, ranks): a batch's samples are in the order of the ranks.
    of_ranks = [found] if ranks.size == 1 else [_unpacked(each) for each in ranks.gather(_packed(found))]
    in_order = [each for batch in zip(*of_ranks, strict=True) for each in batch if each.samples]
    loss = sum(each.loss * each.samples for each in in_order) / count
    return Score(loss=loss, measures=task.measure(join_rows([each.rows for each in in_order])))


def _scored(
    model: nn.Module, inputs: Any, targets: torch.Tensor, task: Task, layout: Layout, device: torch.device, part: slice
) -> _Scored:
    """Score a part of a batch; if it is empty, the model runs all the same, since the other ranks wait for it."""
    own = part if part.stop > part.start else slice(1)
    outputs = model(layout(move(take(inputs, own), device))).float()  # (samples, ...)
    loss = float(task.loss(outputs, targets[own].to(device)))
    rows = task.rows(outputs.cpu().numpy(), targets[own].numpy())
    return _Scored(loss=loss, samples=part.stop - part.start, rows=rows)


def _packed(found: Sequence[_Scored]) -> bytes:
    """Return a rank's parts as a safetensors file."""
    arrays = {
        f"{number}.{name}": np.ascontiguousarray(values)
        for number, each in enumerate(found)
        for name, values in each.rows.items()
    }
    arrays["losses"] = np.array([each.loss for each in found])
    arrays["samples"] = np.array([each.samples for each in found])
    return save(arrays)


def _unpacked(content: bytes) -> list[_Scored]:
    arrays = load(content)
    losses, samples = arrays.pop("losses"), arrays.pop("samples")
    rows: list[dict[str, Any]] = [{} for _ in losses]
    for key, values in arrays.items():
        number, _, name = key.partition(".")
        rows[int(number)][name] = values
    return [
        _Scored(loss=float(loss), samples=int(count), rows=each)
        for loss, count, each in zip(losses, samples, rows, strict=True)
    ]


def _batch_size(model: nn.Module, split: Split, device: torch.device) -> int:
    inputs = split.first(1)[0]
    outputs = model(move(inputs, device))
    return fitting_batch(outputs.nbytes + sum(each.nbytes for each in named(inputs).values()))
