"""Tokens per second and joules per token of a language model of a billion parameters on one NVIDIA GPU.

    python benchmarks/accelerator.py [--phases decode,prefill] [--repeats 5] [--seconds 420] [--solve 1]

A decoder-only transformer with random weights: this is about cost. Its layers in bf16, and as torchao makes them in
int8 and fp8, weight-only and with activations too. Prefill (all tokens of a prompt at once, bound by arithmetic) and
decode (one token after the other, keys and values in a static cache, all of which is read at every step; bound by
memory) are apart, at each batch size. Every variant is compiled block by block (for one token at a time with inductor's
coordinate descent, without which it does not read 8-bit weights as such), and every step is one captured CUDA graph, so
that no variant pays for Python. All variants are in memory at once and take turns in random order; each sample lasts 15
updates of the GPU's energy counter. Joules are those of the GPU's board.

Then it times what the stage quantize does with a model of that size, GPTQ of ``--solve`` blocks, on the GPU and on its
host's CPU (`accelerator_solving`).

It takes at most 8 minutes, and GPTQ's: what is not compiled in 70 % of ``--seconds`` is left out and named; inductor
keeps what it compiled on disk, so that a second run gets further. One phase alone has a result file of its own. Without
a CUDA device the program runs on the CPU, to show that it works, and writes nothing.

A machine with a GPU that is moved for minutes needs no installation, only src/ and benchmarks/ of this repository and
torch, torchao, transformers, onnx, omegaconf with antlr4, numpy, psutil, rich, safetensors and nvidia-ml-py; what it
lacks of these can be in a folder next to them:

    PYTHONPATH=src:FOLDER python3 benchmarks/accelerator.py
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import logging
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import common
from accelerator_model import HEAD, QUERIES, Decoder, Shape, empty_cache
from accelerator_solving import reported, solving
from metering import settings as energy_settings
from overwinter.energy import EnergyMeter, open_meter
from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.gpu_joules import metered_gpu
from overwinter.quantization.torchao_variants import Fp8Dynamic, Fp8WeightOnly, Int8Dynamic
from overwinter.runtime import import_torchao

DENSE = "bf16"
DECODE, PREFILL = PHASES = ("decode", "prefill")
IDLE_S = 3.0
MIN_ROUNDS = 3
WARM_UP = 3
COMPILING = 0.7  # share of the time after which nothing more is compiled
RECOMPILES = 256  # a block is compiled once for every variant, phase and batch size
Step = Callable[[], None]
Key = tuple[str, str, int]  # variant, phase, batch size


@dataclass(kw_only=True)
class Cell:
    """A variant in a phase at a batch size.

    Attributes:
        step: does the work once; nothing is waited for.
        tokens: The number of tokens that a step reads or writes.
        calls: The number of steps in a sample.
        how: ``compiled``; or ``eager``, with what compiling met.
        rates: tokens per second, one per sample.
        energies_j: joules of the board per token, in the same order.
        powers_w: power of the board.
    """

    step: Step
    tokens: int
    calls: int
    how: str
    rates: list[float] = field(default_factory=list)
    energies_j: list[float] = field(default_factory=list)
    powers_w: list[float] = field(default_factory=list)


def main() -> None:
    """Build the variants, time them in turns, print, write."""
    arguments = parsed()
    shape = Shape(**{name: getattr(arguments, name) for name in Shape.__dataclass_fields__})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begin_s = time.monotonic()
    torch.manual_seed(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao's and inductor's advice
        models, left_out = variants(shape, device)
        cache = [empty_cache(shape, max(arguments.batches), device) for _ in range(shape.layers)]
        with metered(device) as meter:
            cells = prepared(models, shape, cache, arguments, left_out)
            differences = compared(models, shape, cache)
            drawn = idle(meter)
            rounds = taken(cells, meter, arguments.repeats, until_s=begin_s + arguments.seconds)
    content = summary(cells, differences, drawn, left_out) | {
        "shape": vars(shape) | {"parameters": sum(each.numel() for each in models[DENSE].parameters())},
        "rounds": rounds,
        "duration_s": time.monotonic() - begin_s,
    }
    show(content)
    save(content, arguments, device)  # now: the loan of a GPU may end in what follows
    if arguments.solve:
        content["gptq"] = solving(shape, arguments.solve, device)
        print(reported(content["gptq"]), flush=True)
        save(content, arguments, device)


def save(content: dict[str, Any], arguments: argparse.Namespace, device: torch.device) -> None:
    """Write the result, if it is one of a GPU."""
    if device.type == "cpu":
        print("no CUDA device: these figures of the CPU only show that the program works; nothing is written")
        return
    name = "accelerator" if set(arguments.phases) == set(PHASES) else f"accelerator_{arguments.phases[0]}"
    print(f"wrote {common.write_result(name, content)}", flush=True)


def parsed() -> argparse.Namespace:
    """Read the command line; the defaults make a billion parameters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    defaults = {"layers": 16, "width": 2048, "hidden": 8192, "vocabulary": 32768, "prompt": 256, "cache": 512}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--batches", type=lambda text: [int(each) for each in text.split(",")], default=[1, 16, 256])
    parser.add_argument("--phases", type=lambda text: text.split(","), default=list(PHASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sample", type=float, default=1.5, help="seconds of a sample")
    parser.add_argument("--solve", type=int, default=1, help="blocks that GPTQ quantizes; 0: none")
    parser.add_argument("--seconds", type=float, default=420.0, help="no round is begun after them, but the first 3")
    arguments = parser.parse_args()
    if arguments.width % (HEAD * QUERIES) or arguments.cache <= arguments.prompt:
        parser.error(f"--width must be a multiple of {HEAD * QUERIES}, and --cache more than --prompt")
    if not set(arguments.phases) <= set(PHASES):
        parser.error(f"--phases are among {','.join(PHASES)}")
    return arguments


def variants(shape: Shape, device: torch.device) -> tuple[dict[str, Decoder], dict[str, str]]:
    """Return variant -> model, and variant -> why it is left out. The blocks' layers are quantized.

    Not the embeddings.
    """
    torchao = import_torchao()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    wanted = {
        DENSE: None,
        "int8 weight-only": torchao.Int8WeightOnlyConfig(set_inductor_config=False, version=2),
        "int8 dynamic": Int8Dynamic().configuration(torchao),
        "fp8 weight-only": Fp8WeightOnly().configuration(torchao),
        "fp8 dynamic": Fp8Dynamic().configuration(torchao),
    }
    refused = Fp8Dynamic().device_refusal(str(device))
    left_out = {} if refused is None else {"fp8 dynamic": refused}
    dense = Decoder(shape).to(device, torch.bfloat16).eval()
    models = {}
    for name, configuration in wanted.items():
        if name in left_out:
            continue
        models[name] = dense if configuration is None else copy.deepcopy(dense)
        if configuration is not None:
            torchao.quantize_(models[name].blocks, configuration)
    if device.type == "cuda":
        compile_blocks(models)
    return models, left_out


def compile_blocks(models: dict[str, Decoder]) -> None:
    """Let every block be compiled when it first runs; blocks of one variant share what is compiled."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = RECOMPILES
    for model in models.values():
        for block in model.blocks:
            block.compile(dynamic=False)


def prepared(
    models: dict[str, Decoder],
    shape: Shape,
    cache: list[torch.Tensor],
    arguments: argparse.Namespace,
    left_out: dict[str, str],
) -> dict[Key, Cell]:
    """Return a warm cell for every phase, batch size and variant that there is time and a kernel for."""
    cells: dict[Key, Cell] = {}
    until_s = time.monotonic() + COMPILING * arguments.seconds
    for phase, batch, variant in itertools.product(arguments.phases, arguments.batches, models):
        if time.monotonic() > until_s or (variant != DENSE and (DENSE, phase, batch) not in cells):
            left_out[f"{variant}, {phase} at batch {batch}"] = "compiling took too long; run it again"
            continue
        step = steps(models[variant], shape, batch, [each[:, :batch] for each in cache])[phase]
        try:
            ready, how = captured(step, tuned=phase == DECODE and batch == 1)
        except Exception as error:  # noqa: BLE001 -- what a library has no kernel for is a finding, whatever it raises
            left_out[f"{variant}, {phase} at batch {batch}"] = reason_of(error)
            continue
        tokens = batch * (shape.prompt if phase == PREFILL else 1)
        cells[variant, phase, batch] = Cell(step=ready, tokens=tokens, calls=calls(ready, arguments.sample), how=how)
        remaining_s = until_s - time.monotonic()
        print(f"{variant}, {phase} at batch {batch}: {how}; {remaining_s:.0f} s left to compile", flush=True)
    return cells


def steps(model: Decoder, shape: Shape, batch: int, cache: list[torch.Tensor]) -> dict[str, Step]:
    """Return what writes one token and takes it as the next input, and what reads a prompt."""
    device = cache[0].device
    prompt = torch.randint(shape.vocabulary, (batch, shape.prompt), device=device)
    token, position = prompt[:, :1].clone(), torch.full((1,), shape.prompt, device=device)
    first = torch.arange(shape.prompt, device=device)

    def write() -> None:
        logits = model(token, position, cache)
        token.copy_(logits.argmax(-1, keepdim=True))
        position.sub_(shape.prompt - 1).remainder_(shape.cache - shape.prompt).add_(shape.prompt)

    def read() -> None:
        model(prompt, first, cache)

    return {DECODE: write, PREFILL: read}


def captured(step: Step, *, tuned: bool) -> tuple[Step, str]:
    """Return a step as a CUDA graph, compiled if it can be, and how it runs; on a CPU as it is."""
    if not torch.cuda.is_available():
        return step, "eager"
    import torch._inductor.config as inductor

    try:
        with inductor.patch(coordinate_descent_tuning=tuned):
            return graph_of(step), "compiled"
    except Exception as error:  # noqa: BLE001 -- compilers raise anything
        reason = reason_of(error)
    with torch.compiler.set_stance("force_eager"):
        return graph_of(step), f"eager: {reason}"


def graph_of(step: Step) -> Step:
    """Warm up a step, which compiles it, and capture it. Graphs share the memory of intermediate tensors."""
    staging: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types for it
    staging.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(staging):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(staging)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=shared_pool()):
        step()
    return graph.replay


@functools.cache
def shared_pool() -> Any:
    """Return the one memory pool of all graphs; nothing that a graph leaves in it is read by another."""
    return torch.cuda.graph_pool_handle()


def reason_of(error: Exception) -> str:
    """Return an error's first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def calls(step: Step, sample_s: float) -> int:
    """Return how many calls fill a sample."""
    times_s = []
    for _ in range(WARM_UP):
        synchronize()
        begin_s = time.perf_counter()
        step()
        synchronize()
        times_s.append(time.perf_counter() - begin_s)
    return max(1, math.ceil(sample_s / min(times_s)))


def compared(models: dict[str, Decoder], shape: Shape, cache: list[torch.Tensor]) -> dict[str, float]:
    """Return how far each variant's logits after a prompt are from bf16's.

    RMS of the difference, relative to theirs.
    """
    device = cache[0].device
    prompt = torch.randint(shape.vocabulary, (1, shape.prompt), device=device)
    positions, one = torch.arange(shape.prompt, device=device), [each[:, :1] for each in cache]
    with torch.compiler.set_stance("force_eager"):
        logits = {name: model(prompt, positions, one).float() for name, model in models.items()}
    return {name: float((each - logits[DENSE]).norm() / logits[DENSE].norm()) for name, each in logits.items()}


@contextmanager
def metered(device: torch.device) -> Iterator[EnergyMeter | None]:
    """Open the GPUs' counters; return None on a CPU, whose joules are not measured here."""
    if device.type == "cpu":
        yield None
        return
    with open_meter(*energy_settings("nvml")) as meter:
        yield meter


def idle(meter: EnergyMeter | None) -> dict[str, Any]:
    """Return the watts of a GPU that holds all variants and does nothing, and what counts its joules."""
    if meter is None:
        return {"joules": None, "idle_w": 0.0}
    with meter.window("idle") as window:
        time.sleep(IDLE_S)
    report = window.close()
    source = next(part.source for part in report.components if part.device == metered_gpu(report, "cuda"))
    return {"joules": f"GPU board, {source}", "idle_w": board_j(report) / report.duration_s}


def board_j(report: Any) -> float:
    """Return what the GPU drew in a window."""
    name = metered_gpu(report, "cuda")
    return float(sum(part.energy_j for part in report.components if part.device == name))


def taken(cells: dict[Key, Cell], meter: EnergyMeter | None, repeats: int, *, until_s: float) -> int:
    """Sample every cell once a round, in random order; return how many rounds there was time for."""
    order = random.Random(0)  # noqa: S311 -- an order, not a secret
    for done in range(repeats):
        if done >= MIN_ROUNDS and time.monotonic() > until_s:
            return done
        for key in order.sample(list(cells), len(cells)):
            sample(cells[key], meter)
    return repeats


def sample(cell: Cell, meter: EnergyMeter | None) -> None:
    """Take one sample; CUDA is waited for at both of its edges."""
    cell.step()  # the variant before this one left its own data in the caches
    synchronize()
    window = None if meter is None else meter.window("sample")
    begin_s = time.perf_counter()
    for _ in range(cell.calls):
        cell.step()
    synchronize()
    duration_s = time.perf_counter() - begin_s
    tokens = cell.calls * cell.tokens
    cell.rates.append(tokens / duration_s)
    if window is not None:
        report = window.close()
        cell.energies_j.append(board_j(report) / tokens)
        cell.powers_w.append(board_j(report) / report.duration_s)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def summary(
    cells: dict[Key, Cell], differences: dict[str, float], drawn: dict[str, Any], left_out: dict[str, str]
) -> dict[str, Any]:
    """Put everything into JSON; ratios are to bf16 in the same round."""
    rows = []
    for (name, phase, batch), cell in cells.items():
        dense = cells[DENSE, phase, batch]
        row: dict[str, Any] = {
            "variant": name,
            "phase": phase,
            "batch": batch,
            "how": cell.how,
            "samples": len(cell.rates),
        }
        row |= figures("tokens_per_s", cell.rates) | figures("speed_over_bf16", over(cell.rates, dense.rates))
        if cell.energies_j:
            ratios = over(cell.energies_j, dense.energies_j)
            above_j = [
                max(0.0, energy_j - drawn["idle_w"] / rate)
                for energy_j, rate in zip(cell.energies_j, cell.rates, strict=True)
            ]
            row |= figures("energy_per_token_j", cell.energies_j) | figures("energy_over_bf16", ratios)
            row |= figures("energy_above_idle_per_token_j", above_j) | figures("power_w", cell.powers_w)
            low, high = row["energy_over_bf16_ci"]
            row["verdict"] = "saves" if high < 1 else "loses" if low > 1 else "equal"
        rows.append(row | {"logits_difference": differences[name]})
    return {**drawn, "left_out": left_out, "rows": rows}


def over(values: list[float], dense: list[float]) -> list[float]:
    """Return ratios, round by round."""
    return [value / reference for value, reference in zip(values, dense, strict=True)]


def figures(name: str, values: list[float]) -> dict[str, Any]:
    """Return a median and its interval."""
    return {name: float(np.median(values)), f"{name}_ci": list(bootstrap_interval(values, confidence=0.95, seed=0))}


def show(content: dict[str, Any]) -> None:
    """Print the table, what loses as well."""
    columns = ("phase", "batch", "variant", "tokens/s", "x bf16", "mJ/token", "above idle", "x bf16", "95 %", "W", "")
    table = Table(*columns)
    for row in content["rows"]:
        cells = [row["phase"], str(row["batch"]), row["variant"], f"{row['tokens_per_s']:.0f}"]
        cells.append(f"{row['speed_over_bf16']:.2f}")
        if "energy_per_token_j" in row:
            low, high = row["energy_over_bf16_ci"]
            cells += [f"{1e3 * row[key]:.3f}" for key in ("energy_per_token_j", "energy_above_idle_per_token_j")]
            cells += [f"{row['energy_over_bf16']:.3f}", f"{low:.3f}-{high:.3f}", f"{row['power_w']:.0f}"]
            cells.append("" if row["variant"] == DENSE else row["verdict"])
        table.add_row(*cells)
    Console(width=120).print(table)
    for name, reason in content["left_out"].items():
        print(f"{name} is left out: {reason}")


if __name__ == "__main__":
    main()
