"""Every point of a grid on digits, measured once: the ground on which benchmarks/search.py compares searches.

    python benchmarks/search_table.py

A point is a choice of `model.channels`, `sparsify.amount`, a variant (quantized or not) and a runtime: 4 x 6 x 10 =
240. Each distinct training, sparsification and quantization is done once, in this process, with the settings of
configs/. All 240 sessions are then timed side by side, in rounds of random order. Quality is the accuracy on the test
split, joules per response are modelled from CPU time at the batch size that decides in configs/evaluate, size is that
of the files that the runtime loads, and joules to produce are modelled from the CPU time of the point's stages.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import common
import overwinter as ow
from metering import settings as energy_settings
from overwinter.config import Config, compose, find_project, validate
from overwinter.energy import open_meter
from overwinter.evaluation import Figures, compare_speed, draw_batches
from overwinter.inputs import Inputs, to_arrays

CHANNELS = ("[8,16,16,32]", "[16,32,32,64]", "[24,48,48,96]", "[32,64,64,128]")
AMOUNTS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
SERVED = (
    "none@torch",
    "none@onnxruntime",
    "none@openvino",
    "int8_static@onnxruntime",
    "int8_static@openvino",
    "int8_smooth@torch",
    "int8_smooth@onnxruntime",
    "int8_smooth@openvino",
    "int8_dynamic@torch",
    "int8_weight_only@onnxruntime",
)
BATCH = 8


@dataclasses.dataclass(kw_only=True)
class Made:
    """A saved model and the CPU time that it took, with the stages before it."""

    folder: Path
    cpu_s: float


class Grid:
    """The grid: `make` fills the folder and returns the sessions' names in their order.

    Args:
        folder: for all models.
        channels: the widths to train.
        amounts: the shares of channels to remove.
    """

    def __init__(self, folder: Path, channels: Sequence[str], amounts: Sequence[float]) -> None:
        self.folder, self.channels, self.amounts = folder, channels, amounts
        self.project = find_project(Path(__file__).parent)
        self.config = self.composed()
        data = ow.data.load_data(self.config.data, trusted=())
        self.data = data.use(ow.tasks.load_task(self.config.task, data.labels, trusted=()))
        self.built: dict[str, Made] = {}

    def composed(self, *overrides: str) -> Config:
        """Compose configs/."""
        return validate(compose(self.project, overrides))

    def make(self) -> None:
        """Train, sparsify, quantize and build every point."""
        for channels in self.channels:
            config = self.composed(f"model.channels={channels}")
            dense = self.trained(config, self.folder / f"dense{channels}")
            for amount in self.amounts:
                config = self.composed(f"model.channels={channels}", f"sparsify.amount={amount}")
                sparse = self.sparsified(config, dense, self.folder / f"sparse{channels}{amount}")
                self.serve(config, sparse, f"{channels} {amount}")
                print(f"{channels} {amount}: {sparse.cpu_s:.0f} CPU-seconds", flush=True)

    def trained(self, config: Config, folder: Path) -> Made:
        """Fit the dense model."""
        with counted() as work:
            model = ow.models.build_model(config.model, trusted=(), seed=config.seed)
            signature = ow.models.find_signature(model, self.data.split("train").singles(4))
            fitted = self.fit(config, model, config.train)
            ow.models.save_model(
                folder, fitted.model, variant="dense", model_config=config.model, signature=signature, lineage={}
            )
        return Made(folder=folder, cpu_s=work.cpu_s)

    def sparsified(self, config: Config, dense: Made, folder: Path) -> Made:
        """Remove channels and fine-tune, as the stage does."""
        with counted() as work:
            model, teacher = (ow.models.load_model(dense.folder, trusted=()) for _ in range(2))
            description = ow.models.load_description(dense.folder)
            hooks = config.sparsify.open().prepare(model, self.data.split("train"))
            chosen = config.sparsify.fine_tuning()
            loss = ow.training.DistillationLoss(
                self.data.task,
                teacher,
                weight=chosen.distillation_weight,
                temperature=chosen.distillation_temperature,
            )
            fitted = self.fit(config, model, chosen.fit, hooks=hooks, loss=loss)
            ow.models.save_model(
                folder,
                fitted.model,
                variant="sparse",
                model_config=description["model"],
                signature=ow.models.signature_of(description),
                lineage={},
            )
        return Made(folder=folder, cpu_s=dense.cpu_s + work.cpu_s)

    def fit(self, config: Config, model: Any, settings: Any, **more: Any) -> Any:
        """Fit a model with the settings of a stage."""
        train, validation = self.data.split("train"), self.data.split("validation")
        return ow.training.fit(
            model,
            train,
            validation,
            settings,
            task=self.data.task,
            seed=config.seed,
            device=torch.device("cpu"),
            threads=1,
            **more,
        )

    def serve(self, config: Config, sparse: Made, point: str) -> None:
        """Quantize in every way, and build every variant for its runtimes."""
        made = {"none": sparse}
        for served in SERVED:
            variant, _, runtime = served.partition("@")
            if variant not in made:
                made[variant] = self.quantized(config, sparse, variant)
            out = self.folder / f"{point} {served}"
            examples = to_arrays(self.data.split("test").spread(ow.runtime.EXAMPLES, seed=config.seed)[0])
            ow.runtime.build(made[variant].folder, runtime, out, examples=examples, trusted=())
            self.built[f"{point} {served}"] = Made(folder=out, cpu_s=made[variant].cpu_s)

    def quantized(self, config: Config, sparse: Made, method: str) -> Made:
        """Make one variant, with the settings of its option in configs/quantize."""
        settings = self.composed(f"quantize={method}").quantize
        folder = sparse.folder.with_name(f"{sparse.folder.name}-{method}")
        with counted() as work:
            ow.quantization.quantize(
                method,
                sparse.folder,
                folder,
                calibration=self.drawn("train", settings.calibration_samples, config.seed),
                held_out=self.drawn("validation", settings.calibration_samples, config.seed),
                task=self.data.task,
                settings=settings,
                lineage={},
                trusted=(),
            )
        return Made(folder=folder, cpu_s=sparse.cpu_s + work.cpu_s)

    def drawn(self, split: str, count: int, seed: int) -> list[Inputs]:
        """Draw samples as the stage does."""
        return [to_arrays(inputs) for inputs, _ in self.data.split(split).spread_batches(count, BATCH, seed=seed)]

    def measured(self) -> list[dict[str, Any]]:
        """Measure every point's quality, joules and size."""
        sessions = {
            name: ow.runtime.open_session(made.folder, name.rpartition("@")[2], 1, trusted=())
            for name, made in self.built.items()
        }
        test, evaluate = self.data.split("test"), self.config.evaluate
        size = evaluate.choose_at_batch_size
        timed = dataclasses.replace(evaluate, batch_sizes=[size], max_repeats=evaluate.repeats)
        with open_meter(*energy_settings("modelled")) as meter:
            costs = compare_speed(
                sessions,
                draw_batches(test, [size], seed=0),
                timed,
                meter=meter,
                seed=0,
                progress=lambda *_: None,
                contenders=(),
            )
            j_per_cpu_s = modelled_j_per_cpu_s(meter)
        return [
            self.row(name, self.quality(session, size), costs[name][size], j_per_cpu_s)
            for name, session in sessions.items()
        ]

    def quality(self, session: ow.runtime.Session, size: int) -> float:
        """Return the task's headline measure of a session's outputs on the test split."""
        task, batches = self.data.task, self.data.split("test").batches(size)
        rows = [task.rows(session.run(to_arrays(inputs)), targets.numpy()) for inputs, targets in batches]
        return float(task.measure(ow.tasks.join_rows(rows))[task.headline.name])

    def row(self, name: str, quality: float, cost: Figures, j_per_cpu_s: float) -> dict[str, Any]:
        """Return a point's row."""
        channels, amount, served = name.split(" ")
        made = self.built[name]
        return {
            "model.channels": channels,
            "sparsify.amount": float(amount),
            "variant@runtime": served,
            "quality": quality,
            "energy_per_response_j": cost.energy_per_response_j,
            "energy_per_response_ci_j": list(cost.energy_per_response_ci_j),
            "size_bytes": sum(file.stat().st_size for file in made.folder.iterdir()),
            "production_j": made.cpu_s * j_per_cpu_s,
        }


@contextmanager
def counted() -> Iterator[Any]:
    """Count the CPU time of the work inside."""
    work = Made(folder=Path(), cpu_s=0.0)
    begin_s = time.process_time()
    yield work
    work.cpu_s = time.process_time() - begin_s


def modelled_j_per_cpu_s(meter: Any) -> float:
    """Return the modelled joules of a second of one busy core, idle draw included."""
    with meter.window("busy") as window:
        begin_s = time.process_time()
        while time.process_time() - begin_s < 1.0:
            pass
    return float(window.close().energy_j)


def main() -> None:
    """Measure the grid and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one width and one amount; nothing is written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        part = slice(1 if arguments.quick else None)
        grid = Grid(Path(scratch), CHANNELS[part], AMOUNTS[part])
        grid.make()
        points = grid.measured()
    for point in points[:: 1 if arguments.quick else 40]:
        print(point)
    if not arguments.quick:
        content = {"duration_s": time.perf_counter() - begin_s, "points": points}
        print(f"wrote {common.write_result('search_table', content)}")


if __name__ == "__main__":
    main()
