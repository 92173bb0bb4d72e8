"""CPU-seconds to 91 % accuracy on Fashion-MNIST, lever by lever, over those of a plain fp32 script.

    python benchmarks/training.py [ROW ...] [--seeds 0 1 2] [--target 0.92]

All 54,000 training images, one process and one thread. Each fit stops when the 6,000 images of validation reach the
target, a point above what is asked on the test images, which are harder for every row; its checks are counted. The test
split is looked at once, afterwards. Rows follow each other seed by
seed, so that other work on the machine slows all of them; rows of earlier runs are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import common
import fashion_fits
from overwinter import data, models, training
from overwinter.config import Config

NAME = "training"
ROOT = Path(__file__).parents[1]
PLAIN = "plain script"
PLAIN_EPOCHS, PLAIN_BATCH, PLAIN_LEARNING_RATE = 30, 64, 1e-3
LOOP = [
    *("train.precision=fp32", "train.keep_freed_memory=false", "train.muon_learning_rate=null"),
    *("train.whitening_samples=0", "train.batch_size=64", "train.epochs=6", "data.flip=true", "data.shift_pixels=1"),
]
BF16 = [*LOOP, "train.precision=native"]
MEMORY = [*BF16, "train.keep_freed_memory=true"]
FLIP = [*MEMORY, "data.flip=alternating", "data.shift_pixels=0", "train.epochs=4"]
MUON = [*FLIP, "train.muon_learning_rate=0.02", "train.batch_size=128", "train.epochs=3"]
WHITENED = [*MUON, "train.whitening_samples=5000"]
ROWS = {
    PLAIN: None,
    "fit: channels innermost, warm-up and cosine": LOOP,
    "+ bf16": BF16,
    "+ freed memory kept": MEMORY,
    "+ alternating flip, no shifts": FLIP,
    "+ Muon, batches of 128": MUON,
    "+ whitened first convolution, frozen": WHITENED,
    "without label smoothing": [*WHITENED, "task.label_smoothing=0"],
    "with half of the data, twice": [*WHITENED, "data.share=0.5", "train.epochs=6"],
}
ASKED = (0.12, 0.06)  # of the plain script's CPU-seconds


def main() -> None:
    """Run what was asked for, write after each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="; ".join(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--target", type=float, default=0.92)
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"unknown rows {sorted(unknown)}; known: {'; '.join(ROWS)}")
    path = common.RESULTS / f"{NAME}.json"
    found: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for seed in arguments.seeds:
        for row in arguments.rows or ROWS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                found.setdefault(row, {})[str(seed)] = fresh.submit(measured, row, seed, arguments.target).result()
            print(row, seed, found[row][str(seed)], flush=True)
            common.write_result(NAME, {"target": arguments.target, **summary(found), "rows": found})
    show(summary(found))


def measured(row: str, seed: int, target: float) -> dict[str, Any]:
    """Train until the target and return what it took, in a fresh process."""
    torch.set_num_threads(1)
    levers, whole_run = ROWS[row], [f"seed={seed}", "threads=1", f"train.to={{accuracy: {target}}}"]
    config = fashion_fits.composed([*whole_run, "train.checks_per_epoch=4", *(levers or ["data.flip=false"])])
    source = fashion_fits.opened(config)
    begun_cpu_s, begun_s = time.process_time(), time.monotonic()
    model, done = plain_script(source, config, target) if levers is None else fitted(source, config)
    cost = {"cpu_s": time.process_time() - begun_cpu_s, "wall_s": time.monotonic() - begun_s}
    test = training.evaluate(model, source.split("test"), source.task).measures["accuracy"]
    return {**cost, **done, "accuracy_test": test}


def plain_script(source: data.Data, config: Config, target: float) -> tuple[nn.Module, dict[str, Any]]:
    """Train as a short script does: fp32, AdamW, batches in random order, a look at the validation split per epoch."""
    inputs, targets = source.split("train").whole()
    model = models.build_model(config.model, trusted=[], seed=config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PLAIN_LEARNING_RATE)
    torch.manual_seed(config.seed)
    accuracy, epoch = 0.0, 0
    while accuracy < target and epoch < PLAIN_EPOCHS:
        epoch += 1
        model.train()
        for batch in torch.randperm(len(inputs)).split(PLAIN_BATCH):
            loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = accuracy_of(model.eval(), *source.split("validation").whole())
    steps = epoch * -(-len(inputs) // PLAIN_BATCH)
    reached = accuracy >= target
    return model, {"epochs": epoch, "steps": steps, "reached": reached, "accuracy_validation": accuracy}


@torch.inference_mode()
def accuracy_of(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the share of right outputs."""
    right = [
        (model(some).argmax(1) == true).sum() for some, true in zip(inputs.split(250), targets.split(250), strict=True)
    ]
    return int(sum(right)) / len(targets)


def fitted(source: data.Data, config: Config) -> tuple[nn.Module, dict[str, Any]]:
    """Train as the stage `train` does."""
    result, _ = fashion_fits.train(config, source)
    return result.model, {
        "epochs": result.epochs_run,
        "steps": result.steps,
        "reached": result.reached,
        "accuracy_validation": result.measures["accuracy"],
    }


def summary(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Put the seeds together: medians, and the CPU-seconds over the plain script's."""
    medians = {
        row: {
            "cpu_s": statistics.median(each["cpu_s"] for each in seeds.values()),
            "accuracy_test": [round(each["accuracy_test"], 4) for each in seeds.values()],
            "reached": all(each["reached"] for each in seeds.values()),
        }
        for row, seeds in rows.items()
    }
    plain_s = medians.get(PLAIN, {}).get("cpu_s")
    for each in medians.values():
        each["ratio_to_plain"] = None if plain_s is None else each["cpu_s"] / plain_s
    return {"medians": medians, "asked_ratios": ASKED}


def show(summed: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table(title="Fashion-MNIST, one thread, to the target on validation")
    for title in ("row", "CPU-seconds", "over plain", "test accuracy", "reached"):
        table.add_column(title)
    for row, each in summed["medians"].items():
        ratio = "" if each["ratio_to_plain"] is None else f"{each['ratio_to_plain']:.3f}"
        accuracies = ", ".join(f"{accuracy:.2%}" for accuracy in each["accuracy_test"])
        table.add_row(row, f"{each['cpu_s']:.0f}", ratio, accuracies, "yes" if each["reached"] else "no")
    Console().print(table)


if __name__ == "__main__":
    main()
