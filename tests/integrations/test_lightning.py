"""Lightning's own Trainer on a tiny model: metered, stopped with a checkpoint, resumed, and failed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import overwinter
from overwinter.errors import RefusedError
from overwinter.pipeline.current import current_work

lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

from overwinter.integrations.lightning import CHECKPOINT, OverwinterCallback  # noqa: E402 -- only where it is

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # a tiny data set needs none
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),  # nor is it
    pytest.mark.filterwarnings("ignore:.*No positive number of `max_epochs`"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # Lightning, with this torch
    pytest.mark.filterwarnings("ignore:.*number of training batches .* is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # on a machine with Slurm
]
STEPS = 40


class Line(lightning.LightningModule):  # type: ignore[misc] -- a class of an optional library
    """A linear model, which may do something after a step."""

    def __init__(self, step: int = -1, action: Any = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.step, self.action = step, action

    def training_step(self, batch: Any, place: int) -> torch.Tensor:
        if self.global_step == self.step:
            self.action()
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(model: Any, *callbacks: Any, folder: Path, steps: int = STEPS, ckpt_path: str | None = None) -> None:
    """Train on random numbers."""
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 4)), batch_size=4)
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)


def test_a_fit_is_metered_and_recorded_with_its_figures(executions, folder: Path):
    fit(Line(), OverwinterCallback(project="line", name="fit"), folder=folder)
    (entry,) = executions()
    assert (entry.stage, entry.project, entry.status) == ("watch: fit", "line", "done")
    assert (entry.done, entry.total) == (STEPS, STEPS)
    assert entry.metrics["train_loss"] >= 0
    assert current_work() is None


def test_over_its_budget_it_saves_a_checkpoint_and_resumes_with_what_was_spent(executions, folder: Path):
    with pytest.raises(RefusedError, match=r"over budget\.total=2 s"):
        fit(Line(), OverwinterCallback(budget="2 s", name="fit"), folder=folder, steps=10**6)
    (entry,) = executions()
    assert entry.status == "refused"
    last = int(entry.done) + 5
    callback = OverwinterCallback(budget="1 h", name="fit")
    fit(Line(), callback, folder=folder, steps=last, ckpt_path=str(folder / CHECKPOINT))
    first, second = executions()
    assert (second.status, second.done, second.resumed_from) == ("done", last, first.id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint(executions, folder: Path, number: int):
    before = signal.getsignal(signal.SIGINT)
    for _ in range(2):
        with pytest.raises(SystemExit):  # Lightning's way, also for Ctrl-C
            fit(Line(7, lambda: os.kill(os.getpid(), number)), OverwinterCallback(), folder=folder)
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on
    assert [(entry.status, entry.done) for entry in executions()] == 2 * [("interrupted", 8)]
    assert (folder / CHECKPOINT).exists()


def test_a_fit_that_raises_is_recorded_as_failed(executions, folder: Path):
    def fail() -> None:
        raise ValueError("loss is nan")

    with pytest.raises(ValueError, match="nan"):
        fit(Line(3, fail), OverwinterCallback(), folder=folder)
    (entry,) = executions()
    assert (entry.status, entry.message, entry.done) == ("failed", "ValueError: loss is nan", 3)
    assert current_work() is None


def test_inside_a_watch_the_steps_are_those_of_the_watch(executions, folder: Path):
    with overwinter.watch(name="script"):
        fit(Line(), OverwinterCallback(name="ignored"), folder=folder)
    (entry,) = executions()
    assert (entry.stage, entry.status, entry.done) == ("watch: script", "done", STEPS)
