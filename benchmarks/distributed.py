"""One training in two processes beside one: its losses, its weights after a rank was killed, and its joules.

    python benchmarks/distributed.py [--repeats 3] [--kills 2]

The digits' default data, augmentation included, and a small network without batch normalisation; batches of 63 samples,
which two ranks divide unevenly. Losses are those of the first 100 steps of `overwinter.training.fit` in one process,
and under torchrun with DDP and FSDP: in float32, in which training enlarges what another order of sums rounds
differently, and in float64. How far one process in float32 is from itself in float64 is the yardstick.

Then the stage `train` is run with two ranks, each time from the start: undisturbed, and with one of them killed at a
random step. What the kernel accounts to the stage's process and to all that it waited for (wait4) is the outside
observer of its joules: the model of energy is set to one watt a busy thread and nothing else, for both. Writes
benchmarks/results/distributed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from safetensors.torch import load

from common import load_module, write_result
from overwinter import data, tasks, training
from overwinter.config.groups import FitConfig
from overwinter.training.distributed import joined

_DIGITS = Path(__file__).parents[1] / "configs" / "data" / "digits.yaml"
_STEPS, _BATCH = 100, 63
_EPOCHS = 16  # 18 steps each
_LAST_KILL = 250
_SEED = 7
_DTYPES = (torch.float32, torch.float64)
_TOLERANCE = 1e-5
_MODEL = '''\
"""A small network without batch normalisation."""

from torch import nn


class Net(nn.Sequential):
    """Takes images (batch, 1, 8, 8) and gives logits (batch, 10)."""

    def __init__(self) -> None:
        hidden = [nn.Linear(512, 512), nn.LayerNorm(512), nn.ReLU()]
        super().__init__(nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), *hidden, nn.Linear(512, 10))

    def forward(self, images):
        return super().forward(images.to(self[-1].weight.dtype))
'''
_ONE_WATT_A_THREAD = (
    "energy.sources=[modelled]",
    "hardware.cpu_tdp_w=1.0",
    "hardware.cpu_threads=1",
    "hardware.cpu_idle_fraction=0.0",
    "hardware.ram_w_per_gib=0.0",
)
_OVERRIDES = (
    *("model=own", "trusted_targets=[own]", "evaluate.runtimes=[torch]", f"train.batch_size={_BATCH}"),
    *(f"train.epochs={_EPOCHS}", "train.patience_epochs=0", "train.checkpoint_interval_s=0.2"),
    *("train.distributed=ddp", "train.processes=2", *_ONE_WATT_A_THREAD),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs that nothing disturbs")
    parser.add_argument("--kills", type=int, default=2, help="runs with a killed rank")
    parser.add_argument("--rank-of", choices=("ddp", "fsdp"), help=argparse.SUPPRESS)
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank_of:
        _fit_as_rank(options.rank_of, options.project)
        return 0
    with tempfile.TemporaryDirectory(prefix="distributed-") as folder:
        project = _new_project(Path(folder) / "project")
        losses = _losses(project)
        print(json.dumps(losses, indent=2), flush=True)
        chance = random.Random(_SEED)  # noqa: S311 -- draws steps, no secrets
        runs = [_run(project) for _ in range(options.repeats)]
        runs += [_run(project, kill_at=chance.randint(1, _LAST_KILL), chance=chance) for _ in range(options.kills)]
    found = {"losses": losses, **summarize(runs)}
    print(json.dumps(found, indent=2))
    print(f"wrote {write_result('distributed', found)}")
    return 0


def _new_project(root: Path) -> Path:
    subprocess.run([sys.executable, "-m", "overwinter.cli", "init", str(root)], check=True, stdout=subprocess.DEVNULL)
    (root / "own.py").write_text(_MODEL)
    (root / "configs" / "model" / "own.yaml").write_text("_target_: own.Net\n")
    return root


def _losses(project: Path) -> dict[str, Any]:
    """Return how far the losses of two ranks are from those of one process, by kind and dtype."""
    alone = _all_losses(project, training.ALONE)
    found: dict[str, Any] = {"steps": _STEPS, "batch_size": _BATCH, "tolerance": _TOLERANCE}
    found["float32_from_float64"] = compare(alone["float32"], alone["float64"])
    for kind in ("ddp", "fsdp"):
        own = [__file__, "--rank-of", kind, "--project", str(project)]
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *own]
        subprocess.run(launch, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        together = json.loads((project / f"{kind}.json").read_text())
        found[kind] = {name: compare(losses, alone[name]) for name, losses in together.items()}
    return found


def compare(losses: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Return how far two series of losses differ at most, and after how many steps by more than the tolerance."""
    differences = [abs(one - other) for one, other in zip(losses, others, strict=True)]
    within = next((step for step, each in enumerate(differences) if each > _TOLERANCE), len(differences))
    return {"max_difference": max(differences), "steps_within": within, "last": losses[-1]}


def _fit_as_rank(kind: str, project: Path) -> None:
    with joined(kind, device="cpu", configuration_key="", may_be_main=True, timeout_s=60) as ranks:
        losses = _all_losses(project, ranks)
        if ranks.is_main:
            (project / f"{kind}.json").write_text(json.dumps(losses))


def _all_losses(project: Path, ranks: training.RankGroup) -> dict[str, list[float]]:
    return {str(dtype).removeprefix("torch."): _fit(project, ranks, dtype) for dtype in _DTYPES}


def _fit(project: Path, ranks: training.RankGroup, dtype: torch.dtype) -> list[float]:
    """Return the loss of each of the first 100 steps."""
    losses: list[float] = []

    def note(_done: float, _total: float, /, **figures: float) -> None:
        losses.append(figures["loss"])

    torch.manual_seed(_SEED)
    model = load_module(project / "own.py").Net().to(dtype)
    digits = data.load_data(yaml.safe_load(_DIGITS.read_text()), trusted=[])
    training.fit(
        model,
        digits.split("train"),
        digits.split("validation"),
        _settings(epochs=-(-_STEPS // (digits.split("train").count() // _BATCH))),
        task=tasks.Classification(digits.labels, label_smoothing=0.1),
        seed=_SEED,
        device=torch.device("cpu"),
        threads=1,
        progress=note,
        ranks=ranks,
    )
    return losses[:_STEPS]


def _settings(epochs: int) -> FitConfig:
    return FitConfig(
        epochs=epochs,
        batch_size=_BATCH,
        learning_rate=0.003,
        weight_decay=0.05,
        warmup_fraction=0.1,
        gradient_clip_norm=1.0,
        patience_epochs=0,
        precision="fp32",
        checkpoint_interval_s=60.0,
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of the stage.

    Attributes:
        weights: what it saved, by name.
        counted_j: joules in its energy.json.
        outside_j: joules by the kernel's account of its processes, waited for from outside.
        killed_at: the step from which on a rank was killed; None: nothing disturbed it.
        restarts: how often its ranks started again.
    """

    weights: dict[str, torch.Tensor]
    counted_j: float
    outside_j: float
    killed_at: int | None
    restarts: int

    @property
    def error(self) -> float:
        """How much more was counted than seen from outside, as a fraction of that."""
        return self.counted_j / self.outside_j - 1


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """Return how the joules agree in all runs, and how far killed runs end from the first undisturbed one's weights."""
    reference, killed = runs[0].weights, [run for run in runs if run.killed_at is not None]
    errors = [abs(run.error) for run in runs]
    return {
        "kills": len(killed),
        "restarts": sum(run.restarts for run in runs),
        "same_weights": sum(_difference(run.weights, reference) == 0 for run in killed),
        "weights_max_difference": max((_difference(run.weights, reference) for run in runs[1:]), default=0.0),
        "energy_error": {"median": statistics.median(errors), "worst": max(errors)},
        "runs": [
            {
                "counted_j": round(run.counted_j, 3),
                "outside_j": round(run.outside_j, 3),
                "error": round(run.error, 5),
                "killed_at": run.killed_at,
                "restarts": run.restarts,
            }
            for run in runs
        ],
    }


def _difference(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    return max(float((weights[name] - others[name]).abs().max()) for name in others)


def _run(project: Path, *, kill_at: int | None = None, chance: random.Random | None = None) -> Run:
    before = set(project.glob(".overwinter/scratch/*"))
    command = [sys.executable, "stages/train.py", *_OVERRIDES]
    stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    if kill_at is not None and chance is not None:
        _kill_a_rank(project, stage, kill_at, chance)
    output = stage.stdout.read() if stage.stdout is not None else ""
    _, status, usage = os.wait4(stage.pid, 0)
    if status:
        raise SystemExit(f"the stage ended with status {status}: {output}")
    (folder,) = set(project.glob(".overwinter/scratch/*")) - before
    run = Run(
        weights=load((folder / "model" / "weights.safetensors").read_bytes()),
        counted_j=json.loads((folder / "energy.json").read_text())["energy_j"],
        outside_j=usage.ru_utime + usage.ru_stime,  # at one watt
        killed_at=kill_at,
        restarts=output.count("a process died"),
    )
    print(f"counted {run.counted_j:.2f} J, {run.outside_j:.2f} J from outside, killed at {kill_at}", flush=True)
    return run


def _kill_a_rank(project: Path, stage: subprocess.Popen[str], step: int, chance: random.Random) -> None:
    """Kill one of the two ranks with SIGKILL once there is a checkpoint of that step or a later one."""
    while not any(int(path.stem[5:]) >= step for path in project.glob(".overwinter/checkpoints/*/step-*.json")):
        if stage.poll() is not None:
            raise SystemExit(f"the stage ended before step {step}")
        time.sleep(0.01)
    (torchrun,) = psutil.Process(stage.pid).children()
    os.kill(chance.choice(torchrun.children()).pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
