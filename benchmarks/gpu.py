"""Checks and measurements on a real NVIDIA GPU, which tests run on a stand-in driver; limits are never changed.

    python benchmarks/gpu.py [--sections boards,idle,order,agreement,rapl,tokens] [--seconds 30] [--rounds 3]

- boards: what each GPU reports on itself and of its limits, before and after everything else.
- idle: watts of each GPU before this process uses CUDA, by the counter and by the power readings.
- order: whether each of torch's devices is the board that the meter takes it for.
- agreement: the energy counter against the integral of the power, and against Zeus on the same window (within 1 %).
- rapl: the processor's counters, where there are any.
- tokens: tokens per second and joules per token by precision, with the pieces of accelerator.py.

It takes about 8 minutes and writes results/gpu.json after every section; one that fails is noted and leaves the others.
It ends with 1 where a check fails. Without a GPU it says so, writes nothing and ends with 0.

On a machine that reaches no package registry, bring wheels for its Python along:

    pip download zeus --python-version 3.12 --only-binary=:all: --dest wheels      # elsewhere
    pip install --no-index --find-links wheels zeus                                # there

Without Zeus its part of the agreement is noted as unavailable. accelerator.py says what else such a machine needs.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table

import common
import metering
from overwinter.energy import open_meter
from overwinter.energy.nvml import nvml_status
from overwinter.energy.nvml_boards import Board, visible_boards
from overwinter.energy.rapl import rapl_status
from overwinter.records import to_json

SECTIONS = ("boards", "idle", "order", "agreement", "rapl", "tokens")
IDLE_S = 10.0
RAPL_S = 5.0
MAX_PHASE_S = 0.1  # of the counter's updates: windows begin anywhere within one
ZEUS_WITHIN, INTEGRAL_WITHIN = 0.01, 0.05
TOKENS_S = 240.0
Content = dict[str, Any]


def main() -> int:
    """Run the sections, print what was found and write it; return the exit code."""
    arguments = parsed()
    available, reason, _ = nvml_status()
    if not available:
        print(f"no NVIDIA GPU can be metered here ({reason}): nothing is measured, nothing is written")
        return 0
    begun_s = time.monotonic()
    content: Content = {"sections": list(arguments.sections), "seconds": arguments.seconds, "rounds": arguments.rounds}
    for name in arguments.sections:
        print(f"{name} ...", flush=True)
        content[name] = surviving(RUNS[name], arguments)
        content |= {"checks": checks(content), "duration_s": time.monotonic() - begun_s}
        common.write_result("gpu", content)
    if "boards" in content:
        content["boards_after"] = surviving(boards, arguments)
        content["checks"] = checks(content)
    show(content)
    print(f"wrote {common.write_result('gpu', content)}")
    return 0 if all(check["pass"] for check in content["checks"]) else 1


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=30.0, help="of work in a window of the agreement")
    parser.add_argument("--rounds", type=int, default=3, help="windows of the agreement")
    parser.add_argument("--tokens-seconds", type=float, default=TOKENS_S, help="of the section tokens")
    arguments = parser.parse_args()
    if not set(arguments.sections) <= set(SECTIONS):
        parser.error(f"--sections are among {','.join(SECTIONS)}")
    return arguments


def surviving(run: Callable[[argparse.Namespace], Any], arguments: argparse.Namespace) -> Any:
    """Run a section; what it raises is its result, and the others go on."""
    try:
        return run(arguments)
    except Exception as error:  # noqa: BLE001 -- drivers, CUDA and compilers raise anything
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def boards(_arguments: argparse.Namespace) -> list[Content]:
    """Return what each visible GPU reports on itself and its limits, in watts."""
    return with_nvml(lambda pynvml: [described(pynvml, board) for board in visible_boards().boards])


def described(pynvml: Any, board: Board) -> Content:
    """Return the properties of one GPU; None for those that it does not report."""
    reported: Content = {"device": board.device, "name": board.name, "uuid": board.uuid, "address": board.address}
    if board.handle is None:
        return reported | {"trouble": board.trouble}

    def ask(call: str) -> Any:
        try:
            return getattr(pynvml, call)(board.handle)
        except pynvml.NVMLError:
            return None

    range_mw = ask("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
    limits_mw = {
        "minimum_w": range_mw[0],
        "maximum_w": range_mw[1],
        "default_w": ask("nvmlDeviceGetPowerManagementDefaultLimit"),
        "limit_w": ask("nvmlDeviceGetPowerManagementLimit"),
        "enforced_w": ask("nvmlDeviceGetEnforcedPowerLimit"),
    }
    reported |= {name: None if value is None else value / 1e3 for name, value in limits_mw.items()}
    return reported | {"has_counter": ask("nvmlDeviceGetTotalEnergyConsumption") is not None}


def idle(_arguments: argparse.Namespace) -> Content:
    """Return the watts of each GPU while nothing runs, by the meter and by power readings."""
    readings: dict[str, list[float]] = {}

    def read(pynvml: Any) -> None:
        handles = {board.device: board.handle for board in visible_boards().boards if board.handle}
        end_s = time.monotonic() + IDLE_S
        while time.monotonic() < end_s:
            for device, handle in handles.items():
                readings.setdefault(device, []).append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
            time.sleep(MAX_PHASE_S)

    with open_meter(*metering.settings("nvml")) as meter, meter.window("idle") as window:
        with_nvml(read)
    report = window.close()
    counted_w = {part.device: {"source": part.source, "idle_w": part.average_w} for part in report.components}
    read_w = {device: statistics.fmean(values) for device, values in readings.items()}
    return {device: reported | {"read_w": read_w.get(device)} for device, reported in counted_w.items()}


def order(_arguments: argparse.Namespace) -> list[Content]:
    """Return, of each of torch's devices, the board by its UUID and the one that the meter takes it for."""
    import torch

    from overwinter.evaluation.gpu_joules import metered_gpu

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")
    by_uuid = with_nvml(lambda _: {str(board.uuid): board.device for board in visible_boards().boards})
    with open_meter(*metering.settings("nvml")) as meter:
        report = meter.read()
    rows = []
    for index in range(torch.cuda.device_count()):
        properties: Any = torch.cuda.get_device_properties(index)
        wanted = f"GPU-{str(properties.uuid).removeprefix('GPU-')}"
        rows.append(
            {
                "cuda": index,
                "name": properties.name,
                "board": by_uuid.get(wanted),
                "metered": metered_gpu(report, f"cuda:{index}"),
            }
        )
    return rows


def agreement(arguments: argparse.Namespace) -> Content:
    """Return how far the counter, the integral of the power and Zeus are apart, over several windows."""
    phases = random.Random(0)  # noqa: S311 -- a moment, not a secret
    rounds = []
    for _ in range(arguments.rounds):
        time.sleep(phases.uniform(0.0, MAX_PHASE_S))
        rounds.append(metering.gpu_agreement(arguments.seconds))
    return {
        "rounds": rounds,
        "zeus": "measured" if rounds[0].get("zeus_j") else "unavailable (see this program's docstring)",
        "to_integral": worst(rounds, "difference_to_integral"),
        "to_zeus": worst(rounds, "difference_to_zeus"),
    }


def worst(rounds: list[Content], key: str) -> float | None:
    """Return the largest difference of all rounds, or None without rounds."""
    values = [abs(each[key]) for each in rounds if each.get(key) is not None]
    return max(values, default=None)


def rapl(_arguments: argparse.Namespace) -> Content:
    """Return what the processor's counters say of a few idle seconds."""
    energy, hardware = metering.settings("rapl")
    available, reason, _ = rapl_status(Path(energy.rapl_root))
    if not available:
        return {"unavailable": reason}
    with open_meter(energy, hardware) as meter:
        time.sleep(RAPL_S)
        report = meter.close()
    return {"zones": reason, **to_json(report)}


def tokens(arguments: argparse.Namespace) -> Content:
    """Return tokens per second and joules per token of a model of a billion parameters, by precision."""
    import torch

    import accelerator

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")
    shape = accelerator.Shape(layers=16, width=2048, hidden=8192, vocabulary=32768, prompt=256, cache=512)
    wanted = SimpleNamespace(
        phases=[accelerator.DECODE], batches=[1, 16], sample=1.5, seconds=arguments.tokens_seconds, repeats=3
    )
    device, until_s = torch.device("cuda"), time.monotonic() + arguments.tokens_seconds
    torch.manual_seed(0)
    with torch.no_grad():
        models, left_out = accelerator.variants(shape, device)
        cache = [accelerator.empty_cache(shape, max(wanted.batches), device) for _ in range(shape.layers)]
        with accelerator.metered(device) as meter:
            cells = accelerator.prepared(models, shape, cache, wanted, left_out)
            differences = accelerator.compared(models, shape, cache)
            drawn = accelerator.idle(meter)
            accelerator.taken(cells, meter, wanted.repeats, until_s=until_s)
    content: Content = accelerator.summary(cells, differences, drawn, left_out)
    accelerator.show(content)
    return content | {"shape": vars(shape)}


RUNS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "boards": boards,
    "idle": idle,
    "order": order,
    "agreement": agreement,
    "rapl": rapl,
    "tokens": tokens,
}


def with_nvml(ask: Callable[[Any], Any]) -> Any:
    """Ask NVML something, initialised for as long."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return ask(pynvml)
    finally:
        pynvml.nvmlShutdown()


def checks(content: Content) -> list[Content]:
    """Return what must hold, as far as it was measured; a section that failed is a check that did."""
    found = [check(f"{name} runs", not is_failure(content[name])) for name in SECTIONS if name in content]
    reported = content.get("agreement", {})
    for key, within in (("to_zeus", ZEUS_WITHIN), ("to_integral", INTEGRAL_WITHIN)):
        if reported.get(key) is not None:
            found.append(check(f"agreement {key}: {reported[key]:.2%}, within {within:.0%}", reported[key] <= within))
    rows = content.get("order", [])
    if isinstance(rows, list):
        found += [
            check(f"cuda:{row['cuda']} is metered as {row['metered']}", row["metered"] == row["board"]) for row in rows
        ]
    if "boards_after" in content:
        before, after = (limits(content[name]) for name in ("boards", "boards_after"))
        found.append(check("limits are as they were", before == after))
    return found


def check(name: str, holds: bool) -> Content:
    """Return one row."""
    return {"check": name, "pass": holds}


def is_failure(result: Any) -> bool:
    """Return whether a section raised."""
    return isinstance(result, dict) and "error" in result


def limits(reported: Any) -> Any:
    """Return the limits of boards that were described, without what may change."""
    return reported if is_failure(reported) else [(board["uuid"], board.get("limit_w")) for board in reported]


def show(content: Content) -> None:
    """Print the checks, and what failed."""
    table = Table("check", "", title="NVIDIA GPU")
    for each in content["checks"]:
        table.add_row(each["check"], "yes" if each["pass"] else "NO")
    Console(width=120).print(table)
    for name in SECTIONS:
        if is_failure(content.get(name)):
            print(f"{name} failed: {content[name]['error']}")


if __name__ == "__main__":
    sys.exit(main())
