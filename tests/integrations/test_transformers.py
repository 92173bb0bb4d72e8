"""Hugging Face's own Trainer on a tiny model: metered with three edited lines, stopped, resumed, and failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import overwinter
from overwinter.errors import RefusedError
from overwinter.pipeline.current import current_work

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="its Trainer needs accelerate")

from overwinter.integrations.transformers import OverwinterCallback  # noqa: E402 -- only where the libraries are

STEPS = 40


class Sentences(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random tokens with a class."""

    def __init__(self, size: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(0, 20, (size, 6), generator=generator)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[place], "labels": self.tokens[place, 0] % 2}


def trainer(folder: Path, *callbacks: Any, steps: int = STEPS, **settings: Any) -> Any:
    """A trainer of a tiny BERT."""
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    usual = {"per_device_train_batch_size": 4, "report_to": [], "save_strategy": "no", "disable_tqdm": True}
    return transformers.Trainer(
        model=transformers.BertForSequenceClassification(config),
        args=transformers.TrainingArguments(
            output_dir=str(folder / "out"), max_steps=steps, use_cpu=True, **usual | settings
        ),
        train_dataset=Sentences(),
        callbacks=list(callbacks),
    )


class After(transformers.TrainerCallback):  # type: ignore[misc] -- a class of an optional library
    """Does something after a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            self.action()


def test_a_training_is_metered_and_recorded_with_its_loss(executions, folder: Path):
    trainer(folder, OverwinterCallback(project="bert", name="fit", energy_json="energy.json")).train()
    (entry,) = executions()
    assert (entry.stage, entry.project, entry.status) == ("watch: fit", "bert", "done")
    assert (entry.done, entry.total) == (STEPS, STEPS)
    assert entry.metrics["train_loss"] > 0
    assert entry.energy_j > 0
    assert (folder / "energy.json").exists()
    assert current_work() is None


def test_over_its_budget_it_saves_the_trainer_s_checkpoint_and_resumes_with_what_was_spent(executions, folder: Path):
    stopped = trainer(folder, OverwinterCallback(budget="2 s", name="fit"), steps=10**6)
    with pytest.raises(RefusedError, match=r"over budget\.total=2 s"):
        stopped.train()
    (entry,) = executions()
    assert entry.status == "refused"
    assert (folder / f"out/checkpoint-{entry.done:g}").is_dir()
    last = int(entry.done) + 5
    trainer(folder, OverwinterCallback(budget="1 h", name="fit"), steps=last).train(resume_from_checkpoint=True)
    first, second = executions()
    assert (second.status, second.done, second.resumed_from) == ("done", last, first.id)


def test_an_interrupt_saves_a_checkpoint(executions, folder: Path):
    interrupt = After(7, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=f"interrupted at 8 of {STEPS}"):
        trainer(folder, OverwinterCallback(), interrupt).train()
    assert executions()[0].status == "interrupted"
    assert (folder / "out/checkpoint-8").is_dir()


def test_inside_a_watch_the_steps_are_those_of_the_watch(executions, folder: Path):
    with overwinter.watch(name="script"):
        trainer(folder, OverwinterCallback(name="ignored")).train()
    (entry,) = executions()
    assert (entry.stage, entry.status, entry.done) == ("watch: script", "done", STEPS)


def test_the_run_of_a_training_that_raised_is_closed_by_the_next_one(executions, folder: Path):
    def fail() -> None:
        raise ValueError("loss is nan")

    with pytest.raises(ValueError, match="nan"):
        trainer(folder, OverwinterCallback(), After(3, fail)).train()
    trainer(folder, OverwinterCallback()).train()
    assert [entry.status for entry in executions()] == ["failed", "done"]
    assert "without telling its callbacks" in executions()[0].message


SCRIPT = """
from pathlib import Path
from tests.integrations.test_transformers import After, OverwinterCallback, trainer

def fail():
    raise ValueError("loss is nan")

trainer(Path("."), OverwinterCallback(), After(3, fail)).train()
"""


def test_a_script_whose_training_raises_is_recorded_as_failed(executions, folder: Path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert "ValueError: loss is nan" in done.stderr
    (entry,) = executions()
    assert (entry.status, entry.message) == ("failed", "ValueError: loss is nan")


RANKS = """
from pathlib import Path
from tests.integrations.test_transformers import OverwinterCallback, trainer

trainer(Path("."), OverwinterCallback(budget="3 s", name="fit"), steps=10**6).train()
"""


@pytest.mark.slow
def test_two_ranks_stop_together_with_one_checkpoint_and_one_entry(executions, folder: Path):
    (folder / "train.py").write_text(RANKS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert "stopped with local rank 0" in done.stderr
    assert "over budget.total=3 s" in done.stderr
    (entry,) = executions()
    assert (entry.stage, entry.status) == ("watch: fit", "refused")
    (checkpoint,) = (folder / "out").glob("checkpoint-*")
    step = int(checkpoint.name.rpartition("-")[2])
    assert step % 10 == 0
    assert entry.done <= step < entry.done + 10
