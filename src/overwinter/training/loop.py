"""The training loop.

Everything random in a step (the order of the data, augmentation, dropout) is drawn from generators that are
seeded by (seed, step), so a fit that goes on from a checkpoint sees what an undisturbed one sees, also in
mid-epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.config.groups import FitConfig
from overwinter.data import Batches, Split
from overwinter.data.seeding import seed_globally
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import ShrinkingHook, StepHook
from overwinter.progress import StepProgress, silent
from overwinter.tasks import Task
from overwinter.training.checkpoints import Checkpoints
from overwinter.training.compiling import Compiling
from overwinter.training.device import fast_layout, laid_out, pick_layout, plain_layout
from overwinter.training.evaluation import Score, evaluate
from overwinter.training.losses import Loss, TaskLoss, counted
from overwinter.training.marginal_return import marginal_return
from overwinter.training.memory import keep_freed_memory
from overwinter.training.optimizing import make_optimizer, make_schedule
from overwinter.training.precision import autocast, in_bf16
from overwinter.training.rank_group import ALONE, RankGroup
from overwinter.training.result import EpochRecord, FitResult, StoppedRankError
from overwinter.training.state import FitState
from overwinter.training.target import check_steps, read_target

_TRIED = 8  # samples


def fit(
    model: nn.Module,
    train: Split,
    validation: Split,
    settings: FitConfig,
    *,
    task: Task,
    seed: int,
    device: torch.device,
    threads: int | None = None,
    trusted: Sequence[str] = (),
    hooks: Sequence[StepHook] = (),
    frozen: Sequence[nn.Module] = (),
    loss: Loss | None = None,
    checkpoints: Path | None = None,
    spent_j: Callable[[], float] | None = None,
    progress: StepProgress = silent,
    ranks: RankGroup = ALONE,
) -> FitResult:
    """Fit ``model`` in place to ``train``, and keep its best weights by the loss on ``validation``.

    AdamW with a warm-up and a cosine, Muon for its matrices, or your own optimizer and schedule; gradients clipped.
    Stops at the target, when the validation loss no longer improves, or when what it still gains is not worth the
    joules. Only epochs that all hooks call settled can be
    the best.

    Args:
        model: trained in place; on the CPU and in evaluation mode when this returns.
        train: read in batches, shuffled and augmented.
        validation: read in batches after every epoch, and as often within it as ``settings`` ask for a target.
        settings: epochs, batch size, learning rate, ...
        task: reads the targets, and has the loss and the measures.
        seed: of everything random in here. The global generators are seeded anew in every step.
        device: where to compute.
        threads: CPU threads; None leaves torch's choice.
        trusted: packages whose optimizers and schedules ``settings`` may name, beside torch's.
        hooks: called around every optimizer step.
        frozen: modules of the model that stay in evaluation mode.
        loss: what to minimise; None is the task's.
        checkpoints: folder for checkpoints; None keeps none. Those of a fit with other settings or of a model
            of other shapes are not taken up; what else decides the result (data, loss) must be in the folder's
            name.
        spent_j: returns the joules of the fit so far, with those before an interruption; for a stop on marginal return.
        progress: called as ``progress(done, total, **figures)`` after every optimizer step. It may raise:
            the fit then saves a checkpoint and lets the exception out.
        ranks: the processes that fit the model together, each calling this function with the same arguments. A step
            is on the whole batch, which they divide. Only the main one keeps checkpoints and calls ``progress``.

    Raises:
        ConfigError: a target is none of the task's, there is nothing to train, the own optimizer or schedule cannot be
            made, or ``settings.to`` is no measure of the task.
        OverwinterError: the loss became NaN or infinite.
        StoppedRankError: this is not the main rank, and that was stopped by ``progress``.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if settings.keep_freed_memory:
        keep_freed_memory()
    splits = train.use(task), validation.use(task)
    run = _Fit(
        model,
        splits,
        settings,
        task,
        seed,
        device,
        hooks,
        frozen,
        loss,
        trusted,
        checkpoints,
        spent_j,
        progress,
        ranks,
    )
    return run.run()


class _Fit:
    """One fit: what stays the same from step to step; what changes is in its `FitState`."""

    def __init__(
        self,
        model: nn.Module,
        splits: tuple[Split, Split],
        settings: FitConfig,
        task: Task,
        seed: int,
        device: torch.device,
        hooks: Sequence[StepHook],
        frozen: Sequence[nn.Module],
        loss: Loss | None,
        trusted: Sequence[str],
        checkpoints: Path | None,
        spent_j: Callable[[], float] | None,
        progress: StepProgress,
        ranks: RankGroup,
    ) -> None:
        self.ranks = ranks
        self.settings, self.task, self.seed = settings, task, seed
        self.device, self.hooks, self.frozen = device, tuple(hooks), tuple(frozen)
        train, self.validation = splits
        if train.count() < ranks.size:
            raise ConfigError(
                f"The training split has {train.count()} samples for {ranks.size} processes. Lower train.processes."
            )
        self.batches = Batches(train, batch_size=settings.batch_size, seed=seed, device=device, part=ranks.part)
        self.in_bf16 = in_bf16(device, settings.precision)
        model = ranks.place(model, device)
        # Sharded parameters have the plain layout only.
        self.layout = plain_layout if ranks.shards else pick_layout(model, self.validation.first(_TRIED)[0])
        if self.layout is fast_layout:
            laid_out(model)
        self.total = settings.epochs * len(self.batches)
        self.loss = loss if loss is not None else TaskLoss(task)
        self.target = read_target(settings.to, task)
        self.checks = check_steps(len(self.batches), settings.checks_per_epoch if self.target else 1)
        self.spent_j, self.progress = spent_j, progress
        optimizer = make_optimizer(model, settings, trusted=trusted)
        for hook in self.hooks:
            if isinstance(hook, ShrinkingHook):
                hook.use_optimizer(optimizer)
        self.schedule = make_schedule(optimizer, settings, self.total, trusted=trusted)
        self.state = FitState(model, optimizer, self.hooks, headline=task.headline.name, ranks=ranks)
        self.compiling = Compiling(ranks.wrap(model), settings.compile)
        purpose = {
            "settings": asdict(settings),
            "seed": seed,
            "steps": self.total,
            "shapes_sha256": self.state.shapes_sha256(),
        }
        self.checkpoints = Checkpoints(checkpoints, purpose) if checkpoints is not None else None

    def run(self) -> FitResult:
        resumed = self._resume()
        saved_at = time.monotonic()
        while not self._finished():
            epoch, start = divmod(self.state.step, len(self.batches))
            for inputs, targets in self._seeded_batches(epoch, start):
                self._step(inputs, targets)
                if self._steps_in_epoch() in self.checks:
                    self._measure()
                if self._notify(due=time.monotonic() - saved_at >= self.settings.checkpoint_interval_s):
                    saved_at = time.monotonic()
                if self.state.reached:
                    break
        return self._result(resumed)

    def _seeded_batches(self, epoch: int, start: int) -> Any:
        batches = self.batches.epoch(epoch, start=start)
        while True:
            # Before the batch is fetched: a data set may draw from the global generators too.
            seed_globally(self.seed, self.state.step, self.ranks.rank)
            batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _step(self, inputs: Any, targets: torch.Tensor) -> None:
        state, step, began = self.state, self.state.step + 1, time.perf_counter()
        state.model.train()
        for module in self.frozen:
            module.eval()
        self.schedule.before_step(step)
        with autocast(self.device, self.settings.precision):
            arranged = self.layout(inputs)
            loss = self._loss_of(arranged, targets)
        mean, share = self.ranks.mean(float(loss.detach()), counted(targets))
        value = self._finite(mean, step)
        state.optimizer.zero_grad()
        torch.autograd.backward(loss * share)
        nn.utils.clip_grad_norm_(state.model.parameters(), self.settings.gradient_clip_norm)
        for hook in self.hooks:
            hook.before_step(step, self.total)
        state.optimizer.step()
        for hook in self.hooks:
            hook.after_step(step, self.total)
        self.schedule.after_step()
        state.took_step(value)
        self.compiling.took_step(arranged, time.perf_counter() - began)

    def _loss_of(self, inputs: Any, targets: torch.Tensor) -> torch.Tensor:
        def compute(model: Callable[[Any], torch.Tensor]) -> torch.Tensor:
            return self.loss(model(inputs), targets, inputs)

        return compute(self.compiling.model_for(inputs, self.total - self.state.step, compute))

    def _steps_in_epoch(self) -> int:
        return (self.state.step - 1) % len(self.batches) + 1

    def _measure(self) -> None:
        """Measure the validation split; end the epoch if it is over, or the target reached."""
        state, steps = self.state, self._steps_in_epoch()
        settled = all(hook.settled(state.step, self.total) for hook in self.hooks)
        if not settled and steps < len(self.batches):
            return
        score = self._score(self.settings.precision)
        reached = settled and self._is_reached(score)
        if reached and self.in_bf16:
            score = self._score("fp32")  # in which the model is judged later
            reached = self._is_reached(score)
        self._finite(score.loss, state.step)
        if not reached and steps < len(self.batches):
            return
        record = EpochRecord(
            epoch=len(state.history) + 1,
            training_loss=state.loss_sum / steps,
            validation_loss=score.loss,
            measures=score.measures,
            spent_j=None if self.spent_j is None else self.ranks.from_main(self.spent_j()),
        )
        self.schedule.after_epoch(score.loss)
        state.ended_epoch(record, settled=settled, reached=reached)

    def _score(self, precision: str) -> Score:
        model, layout = self.state.model, self.layout
        return evaluate(model, self.validation, self.task, layout=layout, precision=precision, ranks=self.ranks)

    def _is_reached(self, score: Score) -> bool:
        return self.target is not None and self.target.is_reached(score.measures)

    def _finished(self) -> bool:
        patience = self.settings.patience_epochs
        done = self.state.step >= self.total or self.state.reached
        return done or (0 < patience <= self.state.epochs_without_gain) or self._poor_return() is not None

    def _poor_return(self) -> float | None:
        """Return what the last epochs gained per kilojoule, if that is less than asked for; else None."""
        least = self.settings.min_gain_per_kj
        if least is None or not self.state.has_best:
            return None
        found = marginal_return(self.state.history, self.task.headline)
        return found if found is not None and found < least else None

    def _finite(self, value: float, step: int) -> float:
        if not math.isfinite(value):
            epoch = (step - 1) // len(self.batches) + 1
            raise OverwinterError(
                f"The loss is {value} in epoch {epoch}, step {step} of {self.total}, at a learning rate of "
                f"{self.state.optimizer.param_groups[0]['lr']:.3g}.\nLower the learning rate (its peak is "
                f"{self.settings.learning_rate:g}), lengthen the warm-up, or look for NaN in the data."
            )
        return value

    def _notify(self, *, due: bool) -> bool:
        """Report the step, and save a checkpoint if one is due or the work is stopped; return whether it was saved."""
        stopped = self._reported() if self.ranks.is_main else None
        due, stop = self.ranks.from_main((due, stopped is not None))
        if due or stop:
            self._save()
        if stopped is not None:
            raise stopped
        if stop:
            raise StoppedRankError(f"The main rank was stopped at step {self.state.step} of {self.total}.")
        return due

    def _reported(self) -> BaseException | None:
        """Report the step; return what stops the work, so that it is kept before that goes on its way."""
        try:
            self.progress(self.state.step, self.total, **self.state.figures())
        except BaseException as error:  # noqa: BLE001 - a budget, a signal, the user: whatever it is
            return error
        return None

    def _save(self) -> None:
        if self.checkpoints is not None and (self.ranks.is_main or self.ranks.shards):
            tensors, progress = self.state.tensors(), self.state.progress()
            if self.ranks.is_main:
                self.checkpoints.save(self.state.step, tensors, progress)

    def _resume(self) -> bool:
        reads = self.checkpoints is not None and self.ranks.is_main
        found = self.ranks.checkpoint_from_main(self.checkpoints.load() if self.checkpoints and reads else None)
        if found is None:
            return False
        tensors, progress = found
        self._advance_schedule(progress["step"], [record["validation_loss"] for record in progress["history"]])
        self.state.resize(tensors)
        if self.layout is fast_layout:
            laid_out(self.state.model)
        self.state.take_up(tensors, progress)
        return True

    def _advance_schedule(self, steps: int, validation_losses: Sequence[float]) -> None:
        """Advance a new schedule as often as that of the interrupted fit, whose state may be anything."""
        for step in range(1, steps + 1):
            self.schedule.after_step()
            if step % len(self.batches) == 0:
                self.schedule.after_epoch(validation_losses[step // len(self.batches) - 1])

    def _result(self, resumed: bool) -> FitResult:
        state = self.state
        best = state.best_record
        state.take_best()
        measures = self._score("fp32").measures if self.in_bf16 and not state.reached else best.measures
        return FitResult(
            model=self.ranks.finished(state.model).eval(),
            history=tuple(state.history),
            best_validation_loss=best.validation_loss,
            measures=measures,
            epochs_run=len(state.history),
            steps=state.step,
            resumed=resumed,
            reached=None if self.target is None else state.reached,
            compiling=self.compiling.verdict or None,
            last_return=None if state.step >= self.total else self._poor_return(),
        )
