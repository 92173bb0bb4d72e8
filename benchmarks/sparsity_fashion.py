"""Fashion-MNIST with few weights: points of accuracy lost at 80 % zeros, with int8 on top, and by RigL at 90 %.

    python benchmarks/sparsity_fashion.py [JOB ...] [--seeds 0 1 2] [--workers 2]

Every seed trains its own dense model as pipelines/fashion does, prunes it by
magnitude with the dense one as its teacher, and rounds what is left to 8 bits per output channel; RigL trains from
scratch, for more epochs: a tenth of the weights learns slowly. Differences are paired by seed, on the 10,000 test
images in eager torch. Settings are the groups' own, but for RigL's: that Muon helps it was seen on validation (two
epochs, one seed: 87.0 %, with AdamW 85.3 %). Rows of earlier runs are kept, so that the table can be made in slices.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import common
import fashion_fits
from overwinter import data, models, quantization, training
from overwinter.config import Config
from overwinter.files import write_json

NAME = "sparsity_fashion"
MODELS = fashion_fits.ROOT / ".overwinter" / "benchmarks" / NAME
SPARSE = [
    *("sparsify=magnitude", "sparsify.amount=0.8", "sparsify.fit.epochs=5", "sparsify.fit.batch_size=128"),
    *("sparsify.fit.precision=native", "sparsify.fit.patience_epochs=0"),
]
PER_CHANNEL = "{bits: 8, group_size: null, symmetric: true}"
INT8 = ["quantize=int8_weight_only", f"+quantize.overrides={{features.*: {PER_CHANNEL}, head: {PER_CHANNEL}}}"]
RIGL = [
    *("train=rigl", "train.epochs=24", "train.batch_size=128", "train.muon_learning_rate=0.02"),
    *("train.patience_epochs=0", "train.precision=native", "sparsify=none"),
]
METHODS = {"sparse_80": SPARSE, "sparse_80_int8": [*SPARSE, *INT8], "rigl_90": RIGL}
# Asked for: points of accuracy lost at most, and bytes of the weights' file over dense's.
ASKED_LOST = {"sparse_80": 0.5, "sparse_80_int8": 0.7, "rigl_90": 1.0}
ASKED_SIZE = 0.10
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # by the number of seeds
Row = dict[str, float]


def main() -> None:
    """Run every seed, write after each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=" or ".join(JOBS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if unknown := set(arguments.jobs) - set(JOBS):
        parser.error(f"unknown jobs {sorted(unknown)}; known: {', '.join(JOBS)}")
    path = common.RESULTS / f"{NAME}.json"
    rows: dict[str, dict[str, Row]] = json.loads(path.read_text())["rows"] if path.exists() else {}
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        wanted = [(JOBS[name], seed) for name in arguments.jobs or JOBS for seed in arguments.seeds]
        submitted = {pool.submit(job, seed): seed for job, seed in wanted}
        for done in as_completed(submitted):
            for method, row in done.result().items():
                rows.setdefault(method, {})[str(submitted[done])] = row
                print(method, submitted[done], row, flush=True)
            common.write_result(NAME, {"settings": METHODS, **summary(rows), "rows": rows})
    show(summary(rows))


def dense_and_pruned(seed: int) -> dict[str, Row]:
    """Train, prune with the dense model as teacher, round to 8 bits; return the row of each."""
    torch.set_num_threads(1)
    config = fashion_fits.composed([*METHODS["sparse_80_int8"], f"seed={seed}"])
    source, folder = fashion_fits.opened(config), MODELS / str(seed)
    return {
        "dense": kept(folder / "dense", lambda: trained(config, source, folder / "dense")),
        "sparse_80": kept(folder / "sparse", lambda: pruned(config, source, folder)),
        "sparse_80_int8": kept(folder / "int8", lambda: rounded(config, source, folder)),
    }


def from_scratch(seed: int) -> dict[str, Row]:
    """Train sparse from the start."""
    torch.set_num_threads(1)
    config, folder = fashion_fits.composed([*RIGL, f"seed={seed}"]), MODELS / str(seed) / "rigl"
    return {"rigl_90": kept(folder, lambda: trained(config, fashion_fits.opened(config), folder))}


def kept(folder: Path, make: Callable[[], Row]) -> Row:
    """Return the row of an earlier run, or make it: a run that was cut short goes on where it was."""
    path = folder.with_suffix(".json")
    if not path.exists():
        write_json(path, make())
    row: Row = json.loads(path.read_text())
    return row


def trained(config: Config, source: data.Data, folder: Path) -> Row:
    """Train as ``config.train`` says, save, and examine."""
    begun = time.process_time()
    result, sparse = fashion_fits.train(config, source, checkpoints=folder.with_suffix(".checkpoints"))
    cpu_s = time.process_time() - begun
    images = source.split("train").singles(1)[0]
    flops = sparse.count_flops(result.model, images, steps=result.steps, batch_size=config.train.batch_size)
    saved = save(config, source, result.model, folder)
    ratio = {} if flops is None else {"flops": flops.sparse, "flops_dense": flops.dense}
    return examined(result.model, saved, source) | {"cpu_s": cpu_s} | ratio


def pruned(config: Config, source: data.Data, folder: Path) -> Row:
    """Sparsify the saved dense model as stages/sparsify.py does, save, and examine."""
    begun = time.process_time()
    model = fashion_fits.prune(config, source, folder / "dense", checkpoints=folder / "sparse.checkpoints")
    cpu_s = time.process_time() - begun
    saved = save(config, source, model, folder / "sparse")
    return examined(model, saved, source) | {"cpu_s": cpu_s}


def rounded(config: Config, source: data.Data, folder: Path) -> Row:
    """Quantize the pruned model and examine the file that was saved."""
    batches = {name: source.split(name).spread(64, seed=0)[0].numpy() for name in ("train", "validation")}
    quantization.quantize(
        "int8_weight_only",
        folder / "sparse",
        folder / "int8",
        calibration=batches["train"],
        held_out=batches["validation"],
        task=source.task,
        settings=config.quantize,
        lineage={},
        trusted=[],
    )
    saved = models.load_description(folder / "int8")
    return examined(models.load_model(folder / "int8", trusted=[]), saved, source)


def save(config: Config, source: data.Data, model: torch.nn.Module, folder: Path) -> dict[str, Any]:
    """Save a model as the stages do."""
    models.drop_negative_zeros(model)
    signature = models.find_signature(model, source.split("train").singles(2))
    node = config.model
    return models.save_model(folder, model, variant="dense", model_config=node, signature=signature, lineage={})


def examined(model: torch.nn.Module, saved: Mapping[str, Any], source: data.Data) -> Row:
    """Return the accuracy on the test split, and what the saved file holds."""
    score = training.evaluate(model, source.split("test"), source.task)
    return {
        "accuracy": score.measures["accuracy"],
        "sparsity": saved["sparsity"],
        "size_bytes": saved["files"]["weights.safetensors"]["size_bytes"],
    }


def summary(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """Return points lost against dense, paired by seed, and sizes over dense's, of every method with enough seeds."""
    found: dict[str, Any] = {}
    for method in METHODS:
        seeds = sorted(set(rows.get(method, {})) & set(rows.get("dense", {})))
        lost = [100 * (rows["dense"][seed]["accuracy"] - rows[method][seed]["accuracy"]) for seed in seeds]
        if len(lost) < 2:
            continue
        spread = STUDENT_95[len(lost)] * statistics.stdev(lost) / math.sqrt(len(lost))
        sizes = [rows[method][seed]["size_bytes"] / rows["dense"][seed]["size_bytes"] for seed in seeds]
        found[method] = {
            "seeds": len(seeds),
            "accuracy": statistics.mean(rows[method][seed]["accuracy"] for seed in seeds),
            "accuracy_dense": statistics.mean(rows["dense"][seed]["accuracy"] for seed in seeds),
            "lost_points": statistics.mean(lost),
            "lost_points_95": [statistics.mean(lost) - spread, statistics.mean(lost) + spread],
            "asked_lost_points": ASKED_LOST[method],
            "size_ratio": max(sizes),
            "sparsity": min(rows[method][seed]["sparsity"] for seed in seeds),
        }
        if "flops" in rows[method][seeds[0]]:
            row = rows[method][seeds[0]]
            found[method]["flops_ratio"] = row["flops"] / row["flops_dense"]
    return {"methods": found, "asked_size_ratio": ASKED_SIZE}


def show(found: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table("method", "accuracy", "points lost, 95 %", "asked", "file over dense's", "FLOPs over dense's")
    for method, row in found["methods"].items():
        low, high = row["lost_points_95"]
        table.add_row(
            method,
            f"{row['accuracy']:.2%}",
            f"{row['lost_points']:.2f} ({low:.2f} to {high:.2f})",
            f"{row['asked_lost_points']:g}",
            f"{row['size_ratio']:.3f}",
            f"{row['flops_ratio']:.2f}" if "flops_ratio" in row else "",
        )
    Console().print(table)


JOBS = {"pruned": dense_and_pruned, "rigl": from_scratch}

if __name__ == "__main__":
    main()
