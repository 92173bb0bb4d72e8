"""MiniLM, fine-tuned on passages of 128 tokens: what int8 loses there, and its CPU time over dense's at its best.

    python benchmarks/text.py [--dense FOLDER] [--passages 30] [--repeats 12] [METHOD ...]

Trains the case `pipelines/text` at twice its length, on all passages of the training split, for one epoch on one thread
in bfloat16: some 12 minutes of CPU time with AVX-512, kept in .overwinter/ and taken up again after an interruption.
``--dense`` names a model that was trained so before, ``--steps`` after how many steps it was taken, if not all. Then
every variant is quantized (calibrated on training passages, compared on validation ones), examined on the test split
and timed, side by side. One thread, one process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import common
from metering import settings as energy_settings
from overwinter import data, evaluation, models, quantization, runtime, tasks, training
from overwinter.config import Config, Project, compose, validate
from overwinter.energy import open_meter
from overwinter.evaluation import Figures, Quality
from overwinter.inputs import Inputs, to_arrays
from overwinter.runtime import Session

NAME = "text"
ROOT = Path(__file__).parents[1]
CASE = ROOT / "pipelines/text"
TRUSTED = ["plays"]
TRAINING = ["data.tokens=128", "train.batch_size=16", "train.precision=bf16", "threads=1"]
RUNTIMES = ("torch", "torch-bf16", "onnxruntime", "openvino")
METHODS = ("int8_static", "int8_smooth", "int8_dynamic")
STEPS = 376
SIZES = (1, 32)
CALIBRATION = 64
PADDED_TOGETHER = 8
# Asked for: points of accuracy lost at most, and CPU time per response over dense's on its best runtime.
ASKED_POINTS, ASKED_RATIO = 1.0, 0.7


def main() -> None:
    """Train or take, quantize, examine, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--dense", type=Path, help="folder of a model that was trained so before")
    parser.add_argument("--steps", type=int, help="of training that this model had, of 376; all by default")
    parser.add_argument("--passages", type=int, help="most passages of each play in the test split; all by default")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--runtimes", nargs="+", default=RUNTIMES)
    arguments = parser.parse_args()
    sys.path.insert(0, str(CASE))
    torch.set_num_threads(1)
    methods = arguments.methods or list(METHODS)
    config = configured(arguments.passages, methods, arguments.repeats)
    source = opened(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dense = arguments.dense or trained(config, source, folder / "dense")
        variants = {"dense": dense, **quantized(config, source, dense, folder)}
        sessions = opened_sessions(variants, arguments.runtimes, source, folder)
        quality, figures = examined(config, source, sessions), timed(config, source, sessions)
    content = summary(quality, figures, samples=source.split("test").size or 0)
    content["training_steps"] = {"taken": arguments.steps or STEPS, "of": STEPS}
    show(content)
    print(f"wrote {common.write_result(NAME, content)}")


def configured(passages: int | None, methods: list[str], repeats: int) -> Config:
    """Compose the case with this benchmark's overrides."""
    project = Project(root=CASE, configs=ROOT / "configs", config_name=NAME)
    overrides = [
        *TRAINING,
        f"data.passages={{train: null, validation: 10, test: {'null' if passages is None else passages}}}",
        f"quantize.calibration_samples={CALIBRATION}",
        "quantize.min_agreement=0",
        f"quantize.methods=[{','.join(methods)}]",
        f"evaluate.repeats={repeats}",
        f"evaluate.max_repeats={repeats}",
        "evaluate.sample_duration_s=0.1",
    ]
    return validate(compose(project, overrides))


def opened(config: Config) -> data.Data:
    """Return the data, with targets as the task reads them."""
    source = data.load_data(config.data, trusted=TRUSTED)
    return source.use(tasks.load_task(config.task, source.labels))


def trained(config: Config, source: data.Data, folder: Path) -> Path:
    """Fit the model, keeping checkpoints that a second call takes up, and save it."""
    model = models.build_model(config.model, trusted=TRUSTED, seed=config.seed)
    signature = models.find_signature(model, source.split("train").singles(4))
    fitted = training.fit(
        model,
        source.split("train"),
        source.split("validation"),
        config.train,
        task=source.task,
        seed=config.seed,
        device=torch.device("cpu"),
        threads=1,
        trusted=TRUSTED,
        checkpoints=ROOT / ".overwinter/benchmarks" / NAME,
        progress=lambda done, total, **found: print(done, total, found, flush=True) if done % 10 == 0 else None,
    )
    models.save_model(folder, fitted.model, variant="dense", model_config=config.model, signature=signature, lineage={})
    return folder


def drawn(source: data.Data, split: str) -> list[Inputs]:
    """Return batches drawn from the whole of a split."""
    batches = source.split(split).spread_batches(CALIBRATION, PADDED_TOGETHER, seed=0)
    return [to_arrays(inputs) for inputs, _ in batches]


def quantized(config: Config, source: data.Data, dense: Path, folder: Path) -> dict[str, Path]:
    """Make the variants."""
    calibration, held_out = drawn(source, "train"), drawn(source, "validation")
    for method in config.quantize.methods:
        report = quantization.quantize(
            method,
            dense,
            folder / method,
            calibration=calibration,
            held_out=held_out,
            task=source.task,
            settings=config.quantize,
            lineage={},
            trusted=TRUSTED,
        )
        print(f"{method}: {report.agreement:.1%} agreement on validation samples", flush=True)
    return {method: folder / method for method in config.quantize.methods}


def opened_sessions(
    variants: Mapping[str, Path], runtimes: list[str], source: data.Data, folder: Path
) -> dict[str, Session]:
    """Build every variant for every runtime that serves it in its own kernels, and open it."""
    examples = to_arrays(source.split("validation").spread(runtime.EXAMPLES, seed=0)[0])
    sessions = {}
    for variant, model in variants.items():
        for name in runtimes:
            # Eager torch computes integer layers in float32, as the reference that they are checked against.
            simulated = name == "torch" and variant == "int8_smooth"
            if simulated or runtime.refusal(model, name) is not None:
                continue
            out = folder / f"{variant}@{name}"
            runtime.build(model, name, out, examples=examples, trusted=TRUSTED)
            sessions[out.name] = runtime.open_session(out, name, 1, trusted=TRUSTED)
    return sessions


def examined(config: Config, source: data.Data, sessions: Mapping[str, Session]) -> dict[str, Quality]:
    """Measure the quality of every session on the test split."""
    examiner = evaluation.Examiner(source.task, config.evaluate, seed=config.seed, trusted=TRUSTED)
    return examiner.examine(sessions, source.split("test"))


def timed(config: Config, source: data.Data, sessions: Mapping[str, Session]) -> dict[str, dict[int, Figures]]:
    """Time all sessions side by side, on passages of the test split."""
    batches = evaluation.draw_batches(source.split("test"), list(SIZES), seed=config.seed)
    with open_meter(*energy_settings("modelled")) as meter:
        return evaluation.compare_speed(
            sessions, batches, config.evaluate, meter=meter, seed=0, progress=lambda _done, _all: None
        )


def summary(
    quality: Mapping[str, Quality], figures: Mapping[str, Mapping[int, Figures]], *, samples: int
) -> dict[str, Any]:
    """Put everything into JSON."""
    rows = {
        name: {
            **each.figures,
            "accuracy_interval": each.interval,
            "lost_points_interval": [100 * end for end in each.loss_interval],
            "at_batch": {str(size): found.to_json() for size, found in figures[name].items()},
        }
        for name, each in quality.items()
    }
    best = {str(size): compared(rows, str(size)) for size in SIZES}
    return {
        "training": TRAINING,
        "calibration_samples": CALIBRATION,
        "test_samples": samples,
        "asked_points": ASKED_POINTS,
        "asked_ratio": ASKED_RATIO,
        "best": best,
        "reached": {size: row["reached"] for size, row in best.items()},
        "rows": rows,
    }


def compared(rows: Mapping[str, Any], size: str) -> dict[str, Any]:
    """Compare the int8 variant of the least CPU time that loses no more than is asked with dense at its best."""
    cost = {name: row["at_batch"][size]["cpu_s_per_response"] for name, row in rows.items()}
    dense = min((name for name in cost if name.startswith("dense@")), key=cost.__getitem__)
    lost = {name: 100 * (rows[dense]["accuracy"] - row["accuracy"]) for name, row in rows.items()}
    integers = [name for name in cost if name.startswith("int8")]
    good = [name for name in integers if lost[name] <= ASKED_POINTS] or integers
    int8 = min(good, key=cost.__getitem__)
    ratio = cost[int8] / cost[dense]
    return {
        "dense": dense,
        "int8": int8,
        "ratio": ratio,
        "ratios": {name: value / cost[dense] for name, value in cost.items()},
        "lost_points": lost,
        "reached": ratio <= ASKED_RATIO and lost[int8] <= ASKED_POINTS,
    }


def show(content: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table("variant@runtime", "accuracy", "points lost (95 %)", "agrees", "batch", "CPU ms (95 %)", "x dense")
    for name, row in content["rows"].items():
        low, high = row["lost_points_interval"]
        for size, found in row["at_batch"].items():
            ends = (1e3 * found[f"cpu_s_per_response_{end}"] for end in ("low", "high"))
            table.add_row(
                name,
                f"{row['accuracy']:.2%}",
                f"{content['best'][size]['lost_points'][name]:+.2f} ({low:+.2f} to {high:+.2f})",
                f"{row['agreement_with_dense']:.1%}",
                size,
                f"{1e3 * found['cpu_s_per_response']:.2f} ({' to '.join(f'{end:.2f}' for end in ends)})",
                f"{content['best'][size]['ratios'][name]:.2f}",
            )
    console = Console(width=130)
    console.print(table)
    console.print_json(data={"best": content["best"]})


if __name__ == "__main__":
    main()
