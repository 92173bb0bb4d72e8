"""What changes from step to step of a fit, and therefore goes into a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from overwinter.models import ShrinkingHook, StepHook, resize_layers, unique_state
from overwinter.training.optimizer_state import laid_out_like, load_state, split_state
from overwinter.training.rank_group import ALONE, RankGroup
from overwinter.training.result import EpochRecord


class FitState:
    """Weights, optimizer, hooks, the best weights so far, and the story of the epochs.

    Args:
        model: that is trained.
        optimizer: of its parameters.
        hooks: of every step.
        headline: name of the measure that the user wants to see.
        ranks: the processes that share the fit.

    Attributes:
        step: optimizer steps done.
        loss_sum: of the losses of this epoch's steps.
        history: of the epochs done.
        epochs_without_gain: epochs since the best one, counted from the first settled one.
        reached: whether the target of the fit was reached.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        hooks: Sequence[StepHook],
        *,
        headline: str,
        ranks: RankGroup = ALONE,
    ) -> None:
        self.model, self.optimizer, self.hooks = model, optimizer, hooks
        self._headline, self._ranks = headline, ranks
        self.step = 0
        self.loss_sum = 0.0
        self.history: list[EpochRecord] = []
        self.epochs_without_gain = 0
        self.reached = False
        self._last_loss = 0.0
        self._best_epoch = 0
        self._best: dict[str, torch.Tensor] = {}

    @property
    def has_best(self) -> bool:
        """Whether there are weights that may be the result."""
        return self._best_epoch > 0

    @property
    def best_record(self) -> EpochRecord:
        """The epoch whose weights are the best."""
        return self.history[self._best_epoch - 1]

    def took_step(self, loss: float) -> None:
        """Count a step."""
        self.step += 1
        self.loss_sum += loss
        self._last_loss = loss

    def ended_epoch(self, record: EpochRecord, *, settled: bool, reached: bool = False) -> None:
        """Count an epoch; keep its weights if they may be the result and are the best, or have reached the target."""
        self.history.append(record)
        self.loss_sum = 0.0
        if not settled:
            return
        self.reached = reached
        if reached or not self._best_epoch or record.validation_loss < self.best_record.validation_loss:
            self._best_epoch = record.epoch
            self._best = {name: tensor.clone() for name, tensor in self._changing().items()}
            self.epochs_without_gain = 0
        else:
            self.epochs_without_gain += 1

    def take_best(self) -> None:
        """Give the model its best weights."""
        with torch.no_grad():
            for name, tensor in self._changing().items():
                tensor.copy_(self._best[name])

    def figures(self) -> dict[str, float]:
        """Return what the user wants to see after a step."""
        figures = {"epoch": float(len(self.history)), "loss": self._last_loss}
        if self.history:
            figures[f"validation_{self._headline}"] = self.history[-1].measures[self._headline]
        return figures

    def shapes_sha256(self) -> str:
        """Return a digest of the model's tensor names and shapes, by which its checkpoints are known."""
        shapes = {name: list(tensor.shape) for name, tensor in unique_state(self.model).items()}
        return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()

    def progress(self) -> dict[str, Any]:
        """Return the numbers for a checkpoint, as JSON."""
        return {
            "step": self.step,
            "loss_sum": self.loss_sum,
            "last_loss": self._last_loss,
            "best_epoch": self._best_epoch,
            "epochs_without_gain": self.epochs_without_gain,
            "reached": self.reached,
            "optimizer": split_state(self.optimizer)[1],
            "history": [asdict(record) for record in self.history],
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors for a checkpoint, contiguous copies on the CPU; of a sharded model on the main rank."""
        named = dict(_prefixed("model", self._changing()))
        named.update(_prefixed("best", self._best))
        named.update(_prefixed("optimizer", split_state(self.optimizer)[0]))
        for number, hook in enumerate(self.hooks):
            named.update(_prefixed(f"hook.{number}", hook.state_dict()))
        whole = ((name, self._ranks.whole(tensor.detach())) for name, tensor in named.items())
        return {name: each.to("cpu", copy=True).contiguous() for name, each in whole if each is not None}

    def resize(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Make the model's layers as small as they were in a checkpoint, after channels were removed."""
        resize_layers(self.model, {name: list(tensor.shape) for name, tensor in _under("model", tensors).items()})

    def take_up(self, tensors: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.step = progress["step"]
        self.loss_sum = progress["loss_sum"]
        self._last_loss = progress["last_loss"]
        self._best_epoch = progress["best_epoch"]
        self.epochs_without_gain = progress["epochs_without_gain"]
        self.reached = progress["reached"]
        self.history = [EpochRecord(**record) for record in progress["history"]]
        with torch.no_grad():
            for name, tensor in self._changing().items():
                tensor.copy_(laid_out_like(tensor, tensors[f"model.{name}"]))
        state = unique_state(self.model)
        self._best = {name: laid_out_like(state[name], tensor) for name, tensor in _under("best", tensors).items()}
        load_state(self.optimizer, _under("optimizer", tensors), progress["optimizer"])
        for number, hook in enumerate(self.hooks):
            hook.load_state_dict(_under(f"hook.{number}", tensors))

    def _changing(self) -> dict[str, torch.Tensor]:
        """Return the tensors that a fit changes: not the frozen ones, unless they may lose channels with the others."""
        state = unique_state(self.model)
        if any(isinstance(hook, ShrinkingHook) for hook in self.hooks):
            return state
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if name not in frozen}


def _prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Iterable[tuple[str, torch.Tensor]]:
    return ((f"{prefix}.{name}", tensor) for name, tensor in tensors.items())


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
