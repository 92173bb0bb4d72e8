"""Fashion-MNIST with fewer channels: removed from a trained model, and removed while it is trained.

    python benchmarks/structured.py [--seeds 0 1 2]

For each seed, three fits of the net of 65,834 parameters, one thread each: *dense*, as pipelines/fashion trains it, but
by AdamW; *shrunk*, the same but that channels go while it is trained; and *pruned*, dense with two thirds of its FLOPs
removed and fine-tuned with dense as its teacher, as pipelines/fashion does. Dense and shrunk run side by side, so that
whatever else runs slows both. Accuracy is on the 10,000 test images, by ONNX Runtime; no setting was chosen by them.
The cost of a response is in CPU-seconds at batch 128, all forms in turn. Fits and rows of earlier runs are kept, in
build/structured and in the result, so that the table can be made in slices.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import common
import fashion_fits
from overwinter import data, models, runtime, sparsity, training
from overwinter.config import Config
from overwinter.evaluation.intervals import loss_interval
from overwinter.files import write_json
from qat import interval

NAME = "structured"
WORK = fashion_fits.ROOT / "build/structured"
DENSE, SHRUNK, PRUNED = "dense", "shrunk", "pruned"
FITS = (DENSE, SHRUNK, PRUNED)
# Channels cannot go from under a whitened convolution; by AdamW, as most people train.
ADAMW = ["train.muon_learning_rate=null", "train.whitening_samples=0"]
OVERRIDES = {
    DENSE: ADAMW,
    SHRUNK: [*ADAMW, "train.shrink={amount: 0.4, at: [0.1], ratio: global, multiple_of: 16}"],
    PRUNED: [],
}
RUNTIMES = ("onnxruntime", "torch")
BATCH = 128
REPEATS, CALLS = 25, 10
# Asked for: points of accuracy lost at most, and how many times less CPU time.
ASKED_LOST = {SHRUNK: 0.5, PRUNED: 1.0}
ASKED_TRAINING_SAVED = 0.25
ASKED_TIMES_LESS = 2.2


def main() -> None:
    """Run what was asked for, write after each seed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    path = common.RESULTS / f"{NAME}.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        prunings: dict[int, Future[dict[str, Any]]] = {}
        for seed in arguments.seeds:
            list(pool.map(fitted, (DENSE, SHRUNK), (seed, seed)))
            prunings[seed] = pool.submit(fitted, PRUNED, seed)
        for seed, pruning in prunings.items():
            pruning.result()
            rows[str(seed)] = pool.submit(examined, seed).result()
            common.write_result(NAME, {"overrides": OVERRIDES, **summary(rows), "rows": rows})
    show(summary(rows))


def settings(fit: str, seed: int) -> Config:
    """Return the settings of a fit."""
    return fashion_fits.composed([*OVERRIDES[fit], f"seed={seed}"])


def folder_of(fit: str, seed: int) -> Path:
    """Return where a fit's model is kept."""
    return WORK / str(seed) / fit


def fitted(fit: str, seed: int) -> dict[str, Any]:
    """Fit a model, save it, and return its cost and its size; of an earlier run, what it left."""
    record = folder_of(fit, seed) / "fit.json"
    if record.exists():
        return dict(json.loads(record.read_text()))
    torch.set_num_threads(1)
    config = settings(fit, seed)
    source = fashion_fits.opened(config)
    begun = time.process_time()
    model = (
        fashion_fits.prune(config, source, folder_of(DENSE, seed))
        if fit == PRUNED
        else fashion_fits.train(config, source)[0].model
    )
    cpu_s = time.process_time() - begun
    examples = source.split("train").first(4)[0]
    models.save_model(
        folder_of(fit, seed),
        model,
        variant=fit,
        model_config=config.model,
        signature=models.find_signature(model, [examples[:1]]),
        lineage={},
    )
    score = training.evaluate(model, source.split("validation"), source.task)
    row = {
        "fit_cpu_s": cpu_s,
        "flops_per_sample": sparsity.flops_per_sample(model, examples),
        "parameters": models.count_parameters(model),
        "validation_accuracy": score.measures["accuracy"],
    }
    write_json(record, row)
    return row


def examined(seed: int) -> dict[str, Any]:
    """Count right outputs on the test split and time the responses of all fits in turn."""
    fits = {fit: fitted(fit, seed) for fit in FITS}
    source = fashion_fits.opened(settings(DENSE, seed))
    inputs, labels = source.split("test").whole()
    sessions = {(fit, name): session(fit, seed, name, source) for fit in FITS for name in RUNTIMES}
    right = {fit: flags(sessions[fit, "onnxruntime"], inputs, labels) for fit in FITS}
    batch = inputs[:BATCH].numpy()
    times: dict[tuple[str, str], list[float]] = {key: [] for key in sessions}
    for _ in range(REPEATS):
        for key, opened in sessions.items():
            times[key].append(cpu_s_per_response(opened, batch))
    for fit, row in fits.items():
        row["accuracy"] = float(right[fit].mean())
        row["cpu_s_per_response"] = {name: statistics.median(times[fit, name]) for name in RUNTIMES}
        row["lost_points_interval"] = [100 * each for each in loss_interval(right[DENSE], right[fit], confidence=0.95)]
    return fits


def session(fit: str, seed: int, name: str, source: data.Data) -> runtime.Session:
    """Build a model for a runtime, and open it on one thread."""
    built = folder_of(fit, seed) / "built" / name
    examples = source.split("validation").spread(runtime.EXAMPLES, seed=0)[0].numpy()
    runtime.build(folder_of(fit, seed), name, built, examples=examples, trusted=[])
    return runtime.open_session(built, name, 1)


def cpu_s_per_response(opened: runtime.Session, batch: np.ndarray[Any, Any]) -> float:
    """Return the CPU-seconds of a response, of a few calls."""
    opened.run(batch)  # others had the caches
    begun = time.process_time()
    for _ in range(CALLS):
        opened.run(batch)
    return (time.process_time() - begun) / (CALLS * len(batch))


def flags(opened: runtime.Session, inputs: torch.Tensor, labels: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return which samples are answered right, (n,)."""
    responses = np.concatenate([opened.run(some.numpy()) for some in inputs.split(250)])  # (n, classes)
    found: np.ndarray[Any, Any] = responses.argmax(1) == labels.numpy()
    return found


def summary(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put the seeds together: figures paired by seed, with 95 % intervals by Student's t."""

    def paired(figure: Any) -> dict[str, float]:
        return interval([figure(row) for row in rows.values()])

    lost = {
        fit: paired(lambda row, fit=fit: 100 * (row[DENSE]["accuracy"] - row[fit]["accuracy"])) for fit in ASKED_LOST
    }
    return {
        "accuracy": {fit: paired(lambda row, fit=fit: row[fit]["accuracy"]) for fit in FITS},
        "lost_points": lost,
        "asked_lost_points": ASKED_LOST,
        "training_cpu_s_ratio": paired(lambda row: row[SHRUNK]["fit_cpu_s"] / row[DENSE]["fit_cpu_s"]),
        "asked_training_cpu_s_ratio": 1 - ASKED_TRAINING_SAVED,
        "flops_ratio": {
            fit: paired(lambda row, fit=fit: _over_dense(row, fit, "flops_per_sample")) for fit in ASKED_LOST
        },
        "times_less_cpu_s": {
            name: {fit: paired(lambda row, fit=fit, name=name: _times_less(row, fit, name)) for fit in ASKED_LOST}
            for name in RUNTIMES
        },
        "asked_times_less_cpu_s": ASKED_TIMES_LESS,
        "batch": BATCH,
    }


def _over_dense(row: Mapping[str, Any], fit: str, figure: str) -> float:
    return float(row[fit][figure] / row[DENSE][figure])


def _times_less(row: Mapping[str, Any], fit: str, name: str) -> float:
    return float(row[DENSE]["cpu_s_per_response"][name] / row[fit]["cpu_s_per_response"][name])


def show(content: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table("figure", "mean", "95 %", "asked")
    for fit, asked in content["asked_lost_points"].items():
        table.add_row(f"{fit}: points lost", *_cells(content["lost_points"][fit]), f"at most {asked}")
        table.add_row(f"{fit}: FLOPs over dense", *_cells(content["flops_ratio"][fit]), "")
    asked_ratio = f"at most {content['asked_training_cpu_s_ratio']}"
    table.add_row("CPU-seconds of training, shrunk over dense", *_cells(content["training_cpu_s_ratio"]), asked_ratio)
    for name, fits in content["times_less_cpu_s"].items():
        for fit, found in fits.items():
            asked = f"at least {content['asked_times_less_cpu_s']}" if fit == PRUNED else ""
            table.add_row(f"{fit}: times less CPU time, {name}", *_cells(found), asked)
    Console(width=120).print(table)


def _cells(found: Mapping[str, float]) -> tuple[str, str]:
    bounds = f"{found['low']:.3f} to {found['high']:.3f}" if "low" in found else ""
    return f"{found['mean']:.3f}", bounds


if __name__ == "__main__":
    main()
