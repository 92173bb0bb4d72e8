"""Loss and accuracy of a model on a split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from overwinter.training.device import Layout, pick_layout

_BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good a model is on a split.

    Attributes:
        loss: mean cross entropy, in nats.
        accuracy: share of right outputs, 0 to 1.
    """

    loss: float
    accuracy: float


def evaluate(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, layout: Layout | None = None) -> Score:
    """Score a model in evaluation mode, in fp32; its mode is put back.

    Args:
        model: on any device; the samples are brought to it.
        inputs: (samples, ...).
        labels: (samples,).
        layout: of the batches in memory; None finds out which one the model takes.
    """
    with torch.inference_mode():
        return _evaluate(model, inputs, labels, layout or pick_layout(model, inputs))


def _evaluate(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, layout: Layout) -> Score:
    was_training = model.training
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    model.eval()
    loss, right = 0.0, 0
    for start in range(0, len(labels), _BATCH_SIZE):
        batch = inputs[start : start + _BATCH_SIZE].to(device)
        expected = labels[start : start + _BATCH_SIZE].to(device)
        logits = model(layout(batch)).float()  # (batch, classes)
        loss += float(functional.cross_entropy(logits, expected, reduction="sum"))
        right += int((logits.argmax(dim=-1) == expected).sum())
    model.train(was_training)
    return Score(loss=loss / len(labels), accuracy=right / len(labels))
