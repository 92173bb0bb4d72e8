"""Correctness of the choice: for several shapes and batch sizes, choose at the stage's settings, then measure again.

    python benchmarks/choosing.py [--near] [--only NAME]

Every case is compared as the stage evaluate does it (configs/evaluate/default.yaml: its repeats, its narrowing, its
rule), on every runtime that runs a variant. Then the same variants are opened again and all of them measured with the
most repeats that a variant can get there, and another seed. The choice was right where it costs at most 3 % more than
the best of that run, or lies inside the best's interval. The models have random weights: this is about cost alone, so
no variant is left out for its quality. CPU-seconds are measured; without a counter, joules are modelled from them.

In these ten the variants cost quite different amounts. With ``--near`` the cases are sleep levels of two ladders of
widths, on which dense and a quantized variant change places, so that some are near ties, where choosing is hard; each
row says how far the second best is from the best.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import nn

import common
from metering import settings as energy_settings
from overwinter import models, quantization, runtime
from overwinter.config.groups import EvaluateConfig
from overwinter.energy import open_meter
from overwinter.evaluation import Choice, Figures, choose, compare_speed
from overwinter.quantization.settings import CalibratedQuantizeConfig
from overwinter.runtime import Session
from overwinter.signature import Signature

T = TypeVar("T")
ALLOWED = 1.03
CONFIGS = Path(__file__).parents[1] / "configs"
RUNTIMES = ("torch", "onnxruntime", "openvino")
METHODS = ("int8_static", "int8_dynamic", "int8_weight_only", "int8_smooth")


class Mlp(nn.Sequential):
    """Linear layers with GELU in between.

    Args:
        width: width of the input and of every hidden layer.
        layers: Linear layers before the head.
    """

    def __init__(self, width: int, layers: int) -> None:
        hidden = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.GELU())]
        super().__init__(*hidden, nn.Linear(width, 10))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A model, asked at a batch size."""

    name: str
    model: dict[str, Any]
    input_shape: tuple[int, ...]
    batch_size: int


def _mlp(width: int, layers: int, batch_size: int) -> Case:
    model = {"_target_": f"{Mlp.__module__}.Mlp", "width": width, "layers": layers}
    return Case(name=f"mlp-{width}x{layers}/{batch_size}", model=model, input_shape=(width,), batch_size=batch_size)


def _conv(size: int, channels: list[int], batch_size: int) -> Case:
    shape = [1, size, size]
    model = {"_target_": "overwinter.models.ConvNet", "input_shape": shape, "classes": 10, "channels": channels}
    name = f"conv-{size}-{channels[-1]}/{batch_size}"
    return Case(name=name, model=model | {"pool_after": [2]}, input_shape=tuple(shape), batch_size=batch_size)


CASES = (
    _mlp(32, 1, 1),
    _mlp(32, 2, 256),
    _mlp(128, 2, 1),
    _mlp(256, 4, 32),
    _mlp(768, 3, 1),
    _mlp(768, 3, 128),
    _mlp(1024, 2, 16),
    _conv(8, [4, 8], 1),
    _conv(8, [32, 64, 64], 32),
    _conv(28, [16, 32], 1),
)
LADDERS = (
    *(_mlp(width, 2, 1) for width in (224, 240, 256)),
    *(_mlp(width, 2, 32) for width in (88, 96, 104)),
)
NEAR = 1.1  # of the second best's cost to the best's


def main() -> None:
    """Choose, measure again, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--near", action="store_true", help="the near ties, into a file of their own")
    parser.add_argument("--only", help="part of a case's name; nothing is written then")
    arguments = parser.parse_args()
    asked = LADDERS if arguments.near else CASES
    cases = [case for case in asked if arguments.only is None or arguments.only in case.name]
    rows = {case.name: judged(case) for case in cases}
    content = {"allowed_ratio": ALLOWED, **counted(rows), "cases": rows}
    show(content)
    if arguments.only is None:
        name = "choosing_near_ties" if arguments.near else "choosing"
        print(f"wrote {common.write_result(name, content)}")


def judged(case: Case) -> dict[str, Any]:
    """Choose at the stage's settings, and hold the choice against a longer, independent run."""
    asked = option_of("evaluate/default", EvaluateConfig)
    asked.batch_sizes, asked.choose_at_batch_size = [case.batch_size], case.batch_size
    longer = dataclasses.replace(asked, repeats=asked.max_repeats)
    inputs = np.random.default_rng(0).standard_normal((256, *case.input_shape)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        built = dict(build(case, inputs, Path(folder)))
        begin_s = time.perf_counter()
        figures = measured(built, inputs, asked, seed=0)
        duration_s = time.perf_counter() - begin_s
        variants = ["dense", *METHODS]
        candidates = [common.candidate(name, variants, found) for name, found in figures.items()]
        choice = choose(candidates, max_quality_loss=0.0)
        found = measured(built, inputs, longer, seed=1)
    return {
        "choosing_s": duration_s,
        **verdict(choice, found),
        "chosen_from": reported(figures),
        "longer_run": reported(found),
    }


def counted(rows: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Return how many choices were right, of all and of the near ties."""
    near = [row for row in rows.values() if row["ratio_of_second"] <= NEAR]
    return {
        "right": sum(row["right"] for row in rows.values()),
        "of": len(rows),
        "right_near_ties": sum(row["right"] for row in near),
        "near_ties": len(near),
    }


def option_of(name: str, schema: type[T]) -> T:
    """Return an option of configs/ as its schema."""
    found = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(CONFIGS / f"{name}.yaml"))
    return cast(T, OmegaConf.to_object(found))


def build(case: Case, inputs: np.ndarray, folder: Path) -> Iterator[tuple[str, Path]]:
    """Make every variant, and yield variant@runtime and what was built for it."""
    trusted = [Mlp.__module__]
    torch.manual_seed(0)
    dense = models.build_model(case.model, trusted=trusted).eval()
    saved = {"dense": folder / "dense"}
    models.save_model(
        saved["dense"],
        copy.deepcopy(dense),
        variant="dense",
        model_config=case.model,
        signature=Signature.of_one(case.input_shape),
        lineage={},
    )
    settings = option_of("quantize/int8_static", CalibratedQuantizeConfig)
    for method in METHODS:
        saved[method] = folder / method
        quantization.quantize(
            method,
            saved["dense"],
            saved[method],
            calibration=inputs[:128],
            held_out=inputs[128:256],
            settings=settings,
            lineage={},
            trusted=trusted,
        )
    for variant, model in saved.items():
        for name in RUNTIMES:
            if runtime.refusal(model, name) is None:
                out = folder / f"{variant}@{name}"
                runtime.build(model, name, out, examples=inputs[: runtime.EXAMPLES], trusted=trusted)
                yield out.name, out


def measured(built: dict[str, Path], inputs: np.ndarray, settings: EvaluateConfig, *, seed: int) -> dict[str, Figures]:
    """Open everything afresh and compare."""
    sessions: dict[str, Session] = {
        name: runtime.open_session(folder, name.partition("@")[2], settings.threads, trusted=[Mlp.__module__])
        for name, folder in built.items()
    }
    with open_meter(*energy_settings("modelled")) as meter:
        batches = common.drawn(inputs, settings.batch_sizes, seed=seed)
        figures = compare_speed(sessions, batches, settings, meter=meter, seed=seed, progress=lambda *_: None)
    return {name: sizes[settings.choose_at_batch_size] for name, sizes in figures.items()}


def verdict(choice: Choice, longer: dict[str, Figures]) -> dict[str, Any]:
    """Hold a choice against the longer run."""
    best, second = sorted(longer, key=lambda name: longer[name].cpu_s_per_response)[:2]
    chosen = longer[choice.chosen.name].cpu_s_per_response
    ratio = chosen / longer[best].cpu_s_per_response
    return {
        "chosen": choice.chosen.name,
        "pays": choice.pays,
        "best": best,
        "ratio_to_best": ratio,
        "second": second,
        "ratio_of_second": longer[second].cpu_s_per_response / longer[best].cpu_s_per_response,
        "right": ratio <= ALLOWED or chosen <= longer[best].cpu_s_per_response_ci[1],
    }


def reported(figures: dict[str, Figures]) -> dict[str, Any]:
    """Return what the file says of each."""
    return {
        name: {
            "cpu_s_per_response": each.cpu_s_per_response,
            "cpu_s_per_response_ci": list(each.cpu_s_per_response_ci),
            "samples": each.samples,
            "disturbed_samples": each.disturbed_samples,
        }
        for name, each in figures.items()
    }


def show(content: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("case", "chosen", "best of the longer run", "x best", "second best", "dense's best costs", "right")
    for name, row in content["cases"].items():
        longer = row["longer_run"]
        dense = min(each["cpu_s_per_response"] for key, each in longer.items() if key.startswith("dense@"))
        dense_cost = f"{dense / longer[row['best']]['cpu_s_per_response']:.2f} x best"
        second = f"{row['second']} {row['ratio_of_second']:.3f}"
        cells = (row["chosen"], row["best"], f"{row['ratio_to_best']:.3f}", second, dense_cost)
        table.add_row(name, *cells, "yes" if row["right"] else "NO")
    Console(width=160).print(table)
    print(
        f"{content['right']} of {content['of']} are right; of near ties (second best within {100 * (NEAR - 1):.0f} %), "
        f"{content['right_near_ties']} of {content['near_ties']}"
    )


if __name__ == "__main__":
    main()
