"""Variants on runtimes: a residual MLP at batch 1 and 128, interleaved, compared with ONNX Runtime's and NNCF's int8.

    make peers && python benchmarks/runtimes.py [--repeats 15]

The model has 6 blocks, 768 wide, 4x hidden, GELU, LayerNorm, and random weights: this is about cost. One thread, one
process; `overwinter.evaluation` times, gives the intervals and chooses, among the variants whose logits differ from
dense's by at most 2 % of the largest (so that 4 bits do not win against the peers' 8).
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime.quantization as ort_quantization
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import common
from metering import settings as energy_settings
from overwinter import models, runtime
from overwinter.config.groups import EvaluateConfig
from overwinter.energy import open_meter
from overwinter.evaluation import Candidate, Figures, choose, compare_speed
from overwinter.models import Grid
from overwinter.quantization import Recipe, apply_recipe
from overwinter.runtime import Array, OnnxSession, OpenVinoSession, Session, largest_difference
from overwinter.signature import Signature

EAGER = "dense@torch"
WIDTH = 768
# Asked for: the chosen variant's CPU-seconds per response over those of fp32 in eager torch, by batch size.
ASKED = {1: 0.12, 128: 0.25}
ALLOWED_DIFFERENCE = 0.02  # of the logits; the peers' is about 0.01
ALLOWED_OVER_PEER = 1.05
VARIANTS = {
    "int8": Recipe(solver="nearest", grid=Grid(bits=8)),
    "int8_dynamic": Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic"),
    "int8_static": Recipe(solver="nearest", grid=Grid(bits=8), activations="static"),
    "int4_g64": Recipe(solver="nearest", grid=Grid(bits=4, group_size=64)),
}
PEER_DYNAMIC, PEER_NNCF = "peer: onnxruntime quantize_dynamic", "peer: nncf int8@openvino"


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (batch, width) of (batch, width)."""
        return inputs + self.inner(inputs)


class Mlp(nn.Sequential):
    """Six blocks and a head."""

    def __init__(self) -> None:
        super().__init__(*(Block() for _ in range(6)), nn.Linear(WIDTH, 10))


def main() -> None:
    """Build, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dense, inputs = Mlp().eval(), torch.randn(256, WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        sessions = dict(built(dense, inputs, Path(folder)))
        sessions |= dict(peers(Path(folder), inputs.numpy()))
        figures = timed(sessions, inputs.numpy(), arguments.repeats)
        expected = sessions[EAGER].run(inputs.numpy())
        differences = {name: largest_difference(each.run(inputs.numpy()), expected) for name, each in sessions.items()}
    content = summary(figures, differences)
    show(content)
    print(f"wrote {common.write_result('runtimes', content)}")


def built(dense: nn.Module, inputs: torch.Tensor, folder: Path) -> Iterator[tuple[str, Session]]:
    """Save every variant, build it for every runtime, and yield variant@runtime and its session."""
    yield from opened(save(dense, "dense", folder), ("torch", "torch-compile", "onnxruntime", "openvino"), inputs)
    layers = [name for name, layer in dense.named_modules() if isinstance(layer, nn.Linear)]
    for variant, recipe in VARIANTS.items():
        model = copy.deepcopy(dense)
        apply_recipe(model, recipe, layers, inputs[:128])
        yield from opened(save(model, variant, folder), ("onnxruntime", "openvino"), inputs)


def save(model: nn.Module, variant: str, folder: Path) -> Path:
    """Save a variant in a folder of its name."""
    config = {"_target_": f"{Mlp.__module__}.Mlp"}
    models.save_model(
        folder / variant, model, variant=variant, model_config=config, signature=Signature.of_one([WIDTH]), lineage={}
    )
    return folder / variant


def opened(variant: Path, runtimes: tuple[str, ...], inputs: Array) -> Iterator[tuple[str, Session]]:
    """Build and open one variant on several runtimes."""
    trusted = [Mlp.__module__]
    for name in runtimes:
        out = variant.with_name(f"{variant.name}@{name}")
        runtime.build(variant, name, out, examples=inputs[: runtime.EXAMPLES], trusted=trusted)
        yield out.name, runtime.open_session(out, name, 1, trusted=trusted)


def peers(folder: Path, inputs: Array) -> Iterator[tuple[str, Session]]:
    """Quantize the dense model's ONNX file by other tools."""
    source, dynamic = folder / "dense@onnxruntime/model.onnx", folder / "dynamic.onnx"
    kind = ort_quantization.QuantType.QInt8
    ort_quantization.quantize_dynamic(source, dynamic, weight_type=kind, per_channel=True)
    yield PEER_DYNAMIC, OnnxSession(dynamic, threads=1)
    np.save(folder / "inputs.npy", inputs)
    common.run_peer("nncf", "nncf_int8.py", source, folder / "inputs.npy", folder / "nncf.xml")
    yield PEER_NNCF, OpenVinoSession(folder / "nncf.xml", threads=1)


def timed(sessions: dict[str, Session], inputs: Array, repeats: int) -> dict[str, dict[int, Figures]]:
    """Time all sessions side by side."""
    plan = EvaluateConfig(
        batch_sizes=list(ASKED),
        choose_at_batch_size=min(ASKED),
        repeats=repeats,
        max_repeats=repeats,
        precision=0.02,
        sample_duration_s=0.1,
        threads=1,
        confidence=0.95,
    )
    with open_meter(*energy_settings("modelled")) as meter:
        return compare_speed(
            sessions, common.drawn(inputs, list(ASKED)), plan, meter=meter, seed=0, progress=lambda _done, _all: None
        )


def summary(figures: dict[str, dict[int, Figures]], differences: dict[str, float]) -> dict[str, Any]:
    """Put everything into JSON: ratios are of CPU-seconds per response, to fp32 in eager torch."""
    rows: dict[str, Any] = {}
    for name, sizes in figures.items():
        rows[name] = {"logits_difference": differences[name], "batches": {}}
        for size, found in sizes.items():
            ratio = found.cpu_s_per_response / figures[EAGER][size].cpu_s_per_response
            rows[name]["batches"][str(size)] = found.to_json() | {"ratio_to_eager": ratio}
    return {
        "asked_ratio": {str(size): ratio for size, ratio in ASKED.items()},
        "allowed_logits_difference": ALLOWED_DIFFERENCE,
        "allowed_ratio_to_peer": ALLOWED_OVER_PEER,
        "best": {str(size): best(figures, differences, size) for size in ASKED},
        "rows": rows,
    }


def best(figures: dict[str, dict[int, Figures]], differences: dict[str, float], size: int) -> dict[str, Any]:
    """Return what would be chosen at a batch size, dense at its best, the best peer.

    And the cheapest variant of all.
    """
    cost = {name: sizes[size].cpu_s_per_response for name, sizes in figures.items()}
    own = [name for name in cost if not name.startswith("peer")]
    peer = min((name for name in cost if name not in own), key=cost.__getitem__)
    choice = choose([candidate(name, figures[name][size], differences[name]) for name in own], max_quality_loss=0.0)
    chosen, dense, cheapest = choice.chosen.name, choice.dense.name, min(own, key=cost.__getitem__)
    return {
        "chosen": chosen,
        "ratio_to_eager": cost[chosen] / cost[EAGER],
        "reached": cost[chosen] / cost[EAGER] <= ASKED[size],
        "dense_at_its_best": dense,
        "ratio_to_dense_at_its_best": cost[chosen] / cost[dense],
        "peer": peer,
        "ratio_to_peer": cost[chosen] / cost[peer],
        "as_good_as_peer": cost[chosen] / cost[peer] <= ALLOWED_OVER_PEER,
        "cheapest_at_any_difference": cheapest,
        "its_ratio_to_eager": cost[cheapest] / cost[EAGER],
    }


def candidate(name: str, found: Figures, difference: float) -> Candidate:
    """Let a variant compete if its logits are near enough to dense's."""
    too_far = (f"the logits differ by {difference:.2g}",) if difference > ALLOWED_DIFFERENCE else ()
    return common.candidate(name, ["dense", *VARIANTS], found, too_far)


def show(content: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("form@runtime", "batch", "p50 ms", "CPU ms/answer", "95 %", "x eager", "logits differ")
    for name, row in content["rows"].items():
        for size, found in row["batches"].items():
            low, high = (1e3 * found[f"cpu_s_per_response_{end}"] for end in ("low", "high"))
            cells = (1e3 * found["latency_p50_s"], 1e3 * found["cpu_s_per_response"])
            table.add_row(
                name,
                size,
                *(f"{cell:.3f}" for cell in cells),
                f"{low:.3f}-{high:.3f}",
                f"{found['ratio_to_eager']:.3f}",
                f"{row['logits_difference']:.2g}",
            )
    console = Console(width=120)
    console.print(table)
    console.print_json(data={"asked": content["asked_ratio"], "best": content["best"]})


if __name__ == "__main__":
    main()
