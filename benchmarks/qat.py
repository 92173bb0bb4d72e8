"""Fashion-MNIST in 8 and 4 bits: points of accuracy lost by rounding, by training for the grid, by relaxation.

    python benchmarks/qat.py [METHOD ...] [--seeds 0 1 2] [--workers 2]

Starts from the dense model of pipelines/fashion and fine-tunes it for one epoch (a quarter of one where inputs have 4
bits too: relaxing them takes three times as long), with the same settings for every method, once per seed; one thread
per fit. Accuracy is on the 10,000 test images, answered by ONNX Runtime with the very file that would be served, or by
torch where inputs have 4 bits. Rows of earlier runs are kept, so that the table can be made in slices.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import Subset

import common
from overwinter import data, models, quantization, runtime, tasks, training
from overwinter.config import Config, Project, compose, validate

NAME = "qat"
ROOT = Path(__file__).parents[1]
DENSE = ROOT / "pipelines/fashion/outputs/train/model"
IMAGES = 54_000  # all of the training split: 422 steps
FEWER_IMAGES = 13_504  # the first in the split's shuffled order: 106 steps
FINE_TUNING = ["train.epochs=1", "train.batch_size=128", "train.learning_rate=0.001", "threads=1", "sparsify=none"]
INT4 = ["train=qat_int4", "quantize=qat", "train.qat.start_fraction=0.05"]
RELAXED = ["train=relaxed_int4", *INT4[1:]]
INPUTS_TOO = ["train.qat.activation_bits=4"]
RELAXED_INPUTS = ["train.qat.relax_activations=true"]
METHODS = {
    "float": ["train=default", "quantize=none"],
    "int8_static": ["train=default", "quantize=int8_static"],
    "int4_rounded": [*INT4, "train.learning_rate=1e-12"],
    "int4_straight_through": INT4,
    "int4_straight_through_learned": [*INT4, "train.qat.scale=learned"],
    "int4_relaxed": RELAXED,
    "int4_relaxed_observed": [*RELAXED, "train.qat.scale=observed"],
    "int4_relaxed_noisier": [*RELAXED, "train.qat.noise=0.33"],
    "int4_relaxed_straight_through": [*RELAXED, "train.qat.rounding=relaxed_straight_through"],
    "int4_inputs_too_straight_through": [*INT4, *INPUTS_TOO],
    "int4_inputs_too_straight_through_learned": [*INT4, *INPUTS_TOO, "train.qat.scale=learned"],
    "int4_inputs_too_relaxed": [*RELAXED, *INPUTS_TOO, *RELAXED_INPUTS],
}
# Asked for: points of accuracy lost at most.
ASKED_LOST = {"int8_static": 0.3, "int4_straight_through": 0.5, "int4_relaxed": 0.5}
# Compared seed by seed. Relaxed may be no worse than straight-through; a loss against the dense start alone would
# flatter, since an epoch more does any model good.
PAIRS = (
    ("int4_relaxed", "int4_straight_through"),
    ("int4_inputs_too_relaxed", "int4_inputs_too_straight_through"),
    ("int4_inputs_too_relaxed", "int4_inputs_too_straight_through_learned"),
    ("int4_straight_through", "float"),
    ("int4_relaxed", "float"),
)
SETTINGS = {
    "images": IMAGES,
    "images_where_inputs_too": FEWER_IMAGES,
    "fine_tuning": FINE_TUNING,
    "methods": METHODS,
}
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}  # by the number of seeds


def main() -> None:
    """Run what was asked for, write after each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if unknown := set(arguments.methods) - set(METHODS):
        parser.error(f"unknown methods {sorted(unknown)}; known: {', '.join(METHODS)}")
    if not DENSE.exists():
        raise SystemExit(f"{DENSE} is missing: `overwinter -C pipelines/fashion run`.")
    path = common.RESULTS / f"{NAME}.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        wanted = [(method, seed) for seed in arguments.seeds for method in arguments.methods or METHODS]
        for done in as_completed([pool.submit(measured, method, seed) for method, seed in wanted]):
            method, seed, row = done.result()
            rows.setdefault(method, {})[str(seed)] = row
            print(method, seed, row, flush=True)
            common.write_result(NAME, {**SETTINGS, **summary(rows), "rows": rows})
    show(summary(rows))


def measured(method: str, seed: int) -> tuple[str, int, dict[str, Any]]:
    """Fine-tune, quantize, build, and count right outputs, of the dense start too."""
    torch.set_num_threads(1)
    project = Project(root=ROOT, configs=ROOT / "configs", config_name="fashion")
    config = validate(compose(project, [*FINE_TUNING, *METHODS[method], f"seed={seed}"]))
    source = data.load_data(config.data, trusted=[])
    source = source.use(tasks.load_task(config.task, source.labels))
    with tempfile.TemporaryDirectory() as name:
        folder, begun = Path(name), time.process_time()
        # What is quantized without training stays as it is.
        images = FEWER_IMAGES if "inputs_too" in method else IMAGES
        trained = DENSE if method == "int8_static" else fitted(config, source, images, folder / "trained")
        fit_cpu_s = time.process_time() - begun
        variant = quantized(config, source, trained, folder)
        (right, _), (kept, loss_nats) = (examined(place, source, folder) for place in (DENSE, variant))
        size_bytes = models.stored_bytes(models.load_description(variant))
    row = {
        "accuracy": kept,
        "lost_points": 100 * (right - kept),
        "loss_nats": loss_nats,
        "fit_cpu_s": fit_cpu_s,
        "size_bytes": size_bytes,
    }
    return method, seed, row


def fitted(config: Config, source: Any, images: int, folder: Path) -> Path:
    """Fine-tune the dense model on the first training images and save the result."""
    model, description = models.load_model(DENSE, trusted=[]), models.load_description(DENSE)
    awareness = training.make_aware(model, config.train)
    result = training.fit(
        model,
        data.Split(Subset(source.split("train").dataset, range(images))),
        source.split("validation"),
        config.train,
        task=source.task,
        seed=config.seed,
        device=torch.device("cpu"),
        threads=config.threads,
        hooks=awareness.hooks,
    )
    models.save_model(
        folder,
        result.model,
        variant="dense",
        model_config=description["model"],
        signature=models.signature_of(description),
        lineage={},
        quantization_aware=awareness.finish(),
    )
    return folder


def quantized(config: Config, source: Any, trained: Path, folder: Path) -> Path:
    """Return the folder of the variant that is asked for: of the trained model itself where none is."""
    for method in config.quantize.methods:
        count = config.quantize.calibration_samples
        calibration, held_out = (source.split(name).spread(count, seed=0)[0] for name in ("train", "validation"))
        quantization.quantize(
            method,
            trained,
            folder / method,
            calibration=calibration.numpy(),
            held_out=held_out.numpy(),
            settings=config.quantize,
            lineage={},
            trusted=[],
        )
        return folder / method
    return trained


def examined(variant: Path, source: Any, folder: Path) -> tuple[float, float]:
    """Return the share of right outputs on the test split and their cross entropy.

    By ONNX Runtime where it runs the variant, else by torch.
    """
    built = folder / "built" / variant.name
    name = "torch" if runtime.refusal(variant, "onnxruntime") else "onnxruntime"  # which has no inputs of 4 bits
    examples = source.split("validation").spread(runtime.EXAMPLES, seed=0)[0].numpy()
    runtime.build(variant, name, built, examples=examples, trusted=[])
    session = runtime.open_session(built, name, 1)
    inputs, labels = source.split("test").whole()
    responses = torch.cat([torch.from_numpy(session.run(some.numpy())) for some in inputs.split(250)])
    right = int((responses.argmax(1) == labels).sum()) / len(labels)
    return right, float(torch.nn.functional.cross_entropy(responses, labels))


def summary(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Put the seeds together: mean losses, and differences paired by seed."""
    lost = {method: interval([row["lost_points"] for row in seeds.values()]) for method, seeds in rows.items()}
    reached = {method: lost[method]["mean"] <= most for method, most in ASKED_LOST.items() if method in lost}
    return {
        "lost_points": lost,
        "asked_lost_points": ASKED_LOST,
        "reached": reached,
        "gained_points_paired": gained(rows, "accuracy", 100.0),
        "gained_nats_paired": gained(rows, "loss_nats", -1.0),
    }


def gained(
    rows: Mapping[str, Mapping[str, Mapping[str, float]]], figure: str, unit: float
) -> dict[str, dict[str, float]]:
    """Compare the pairs by a figure, seed by seed; above 0 the first of a pair is better."""
    found = {}
    for method, other in PAIRS:
        ours, theirs = rows.get(method, {}), rows.get(other, {})
        both = [seed for seed in ours if figure in ours[seed] and figure in theirs.get(seed, {})]
        if both:
            differences = [unit * (ours[seed][figure] - theirs[seed][figure]) for seed in both]
            found[f"{method} over {other}"] = interval(differences)
    return found


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean over the seeds and its 95 % interval by Student's t; of one seed the mean alone."""
    found = {"mean": statistics.mean(values), "seeds": len(values)}
    if len(values) in STUDENT_95:
        half = STUDENT_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
        found |= {"low": found["mean"] - half, "high": found["mean"] + half}
    return found


def show(content: Mapping[str, Any]) -> None:
    """Print the tables."""
    table = Table("method", "points lost", "95 %", "seeds", "asked")
    for method, found in content["lost_points"].items():
        asked = content["asked_lost_points"].get(method)
        table.add_row(method, *_cells(found), "" if asked is None else f"at most {asked}")
    pairs = Table("paired by seed", "gained", "95 %", "seeds")
    for unit in ("points", "nats"):
        for name, found in content[f"gained_{unit}_paired"].items():
            pairs.add_row(f"{name}, {unit}", *_cells(found))
    console = Console(width=120)
    console.print(table)
    console.print(pairs)


def _cells(found: Mapping[str, float]) -> tuple[str, str, str]:
    bounds = f"{found['low']:.4f} to {found['high']:.4f}" if "low" in found else ""
    return f"{found['mean']:.4f}", bounds, str(found["seeds"])


if __name__ == "__main__":
    main()
