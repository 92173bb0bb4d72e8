"""MiniLM on passages of plays: adapters of low rank (LoRA) against training all weights, in CPU-seconds and joules.

    python benchmarks/training_lora.py [ROW ...] [--seeds 0 1]

The case `pipelines/text` at passages of 32 tokens, 79 steps of 32 passages, one epoch on one thread, in bfloat16 where
the processor has it. All weights are trained as the case says. The adapters (rank 16, beside all layers) have the same
learning rate for the new head, and two of their own; the one that is right more often on the validation split, in the
first seed, is compared. Joules are modelled, and count the time in which other work keeps a fit waiting: compare
CPU-seconds on a shared machine. The test split is looked at once for each fit. Rows of earlier runs are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import common
from metering import settings as energy_settings
from overwinter import models, training
from overwinter.config import Config, Project, compose, validate
from overwinter.energy import open_meter
from text import CASE, ROOT, TRUSTED, opened

NAME = "training_lora"
ALL, SLOW, FAST = "all weights", "adapters, 0.001", "adapters, 0.003"
SHORT = [
    *("data.tokens=32", "data.passages={train: 67, validation: 10, test: 30}", "train.batch_size=32"),
    *("train.precision=native", "train.epochs=1", "threads=1"),
]


def adapted(learning_rate: float, head_factor: int) -> list[str]:
    """Return the overrides for adapters: the head moves as far in a step as when all weights are trained."""
    return [
        *("train=lora", "train.batch_size=32", f"train.learning_rate={learning_rate}"),
        f"train.optimizer={{_target_: plays.HeadFirstAdamW, head_factor: {head_factor}, weight_decay: 0}}",
    ]


ROWS = {ALL: [], SLOW: adapted(0.001, 9), FAST: adapted(0.003, 3)}


def main() -> None:
    """Run what was asked for, write after each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="; ".join(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    path = common.RESULTS / f"{NAME}.json"
    found: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for seed in arguments.seeds:
        for row in arguments.rows or ROWS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                found.setdefault(row, {})[str(seed)] = fresh.submit(measured, row, seed).result()
            print(row, seed, found[row][str(seed)], flush=True)
            common.write_result(NAME, {"overrides": SHORT, **summary(found), "rows": found})
    show(found)


def settings(row: str, seed: int) -> Config:
    """Return the settings of a fit."""
    project = Project(root=CASE, configs=ROOT / "configs", config_name="text")
    return validate(compose(project, [*ROWS[row], *SHORT, f"seed={seed}"]))


def measured(row: str, seed: int) -> dict[str, Any]:
    """Train, in a fresh process, and return what it took and what came of it."""
    sys.path.insert(0, str(CASE))
    torch.set_num_threads(1)
    config = settings(row, seed)
    source = opened(config)
    train, validation = source.split("train"), source.split("validation")
    model = models.build_model(config.model, trusted=TRUSTED, seed=seed)
    with open_meter(*energy_settings("modelled")) as meter:
        begun_cpu_s, begun_j = time.process_time(), meter.read().energy_j
        adapters = training.add_adapters(model, config.train, train.first(1)[0], seed=seed)
        result = training.fit(
            model,
            train,
            validation,
            config.train,
            task=source.task,
            seed=seed,
            device=torch.device("cpu"),
            threads=1,
            trusted=TRUSTED,
        )
        adapters.merge()
        cost = {"cpu_s": time.process_time() - begun_cpu_s, "energy_j": meter.read().energy_j - begun_j}
    everything = sum(each.numel() for each in model.parameters())
    return {
        **cost,
        "steps": result.steps,
        "trained_parameters": everything if adapters.trained is None else adapters.trained,
        "accuracy_validation": result.measures["accuracy"],
        "accuracy_test": training.evaluate(result.model, source.split("test"), source.task).measures["accuracy"],
    }


def summary(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Compare training all weights with the better adapters, over the seeds that both have."""
    tried = [row for row in (SLOW, FAST) if row in rows]
    if ALL not in rows or not tried:
        return {}
    chosen = max(tried, key=lambda row: next(iter(rows[row].values()))["accuracy_validation"])
    seeds = sorted(set(rows[ALL]) & set(rows[chosen]))

    def mean(row: str, figure: str) -> float:
        return statistics.mean(rows[row][seed][figure] for seed in seeds)

    return {
        "chosen": chosen,
        "seeds": len(seeds),
        "ratios": {
            figure: mean(chosen, figure) / mean(ALL, figure) for figure in ("cpu_s", "energy_j", "trained_parameters")
        },
        "accuracy_test": {row: mean(row, "accuracy_test") for row in (ALL, chosen)},
    }


def show(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Print the table."""
    table = Table("row", "seed", "CPU-seconds", "joules", "trained", "validation", "test")
    for row, seeds in rows.items():
        for seed, each in seeds.items():
            accuracies = (f"{each[f'accuracy_{split}']:.1%}" for split in ("validation", "test"))
            cost = f"{each['cpu_s']:.0f}", f"{each['energy_j']:.0f}"
            table.add_row(row, seed, *cost, f"{each['trained_parameters']:,}", *accuracies)
    Console().print(table)


if __name__ == "__main__":
    main()
