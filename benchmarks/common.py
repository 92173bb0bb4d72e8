"""Shared code of the benchmarks: the machine, the versions and the result file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from overwinter.energy.machine import this_machine
from overwinter.evaluation import BatchCost, Candidate, Figures, Quality
from overwinter.files import write_json
from overwinter.inputs import Array, Inputs
from overwinter.metrics import Comparison, EvaluationMetrics
from overwinter.records import read_record
from overwinter.tasks import Measure

RESULTS = Path(__file__).parent / "results"
_PEERS = Path(__file__).parent / "peers"
_DISTRIBUTIONS = (
    "codecarbon",
    "dvc",
    "hydra-core",
    "llama-cpp-python",
    "numpy",
    "nvidia-ml-py",
    "onnxruntime",
    "onnxruntime-genai",
    "openvino",
    "openvino-genai",
    "optuna",
    "overwinter",
    "safetensors",
    "torch",
    "torchao",
    "transformers",
    "zeus",
)


def machine() -> dict[str, Any]:
    """Describe this machine: what a reader needs to judge a figure."""
    cpu = this_machine()
    return {
        "cpu": cpu.cpu_name,
        "threads": cpu.threads,
        "allowed_threads": cpu.allowed_threads,
        "virtual": cpu.virtual,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
        "kernel": platform.release(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of every relevant installed distribution."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``content``, the machine and the versions to results/``name``.json; return the path."""
    path = RESULTS / f"{name}.json"
    write_json(path, {"benchmark": name, "machine": machine(), "versions": versions(), **content})
    return path


def _gpus() -> list[str]:
    from overwinter.energy.nvml import nvml_status

    available, described, _ = nvml_status()
    return described.split(", ") if available else []


def run_peer(peer: str, program: str, *arguments: str | Path) -> None:
    """Run a program of benchmarks/peers/ in that peer's own environment.

    Raises:
        SystemExit: the environment is missing, or the program failed.
    """
    command = [str(each) for each in (peer_python(peer), _PEERS / program, *arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    if done.returncode != 0:
        raise SystemExit(f"{program} failed: {done.stderr[-2000:]}")


def has_peer(peer: str) -> bool:
    """Whether `make peers` has set up a peer's own environment, to the end."""
    return (_PEERS.parents[1] / ".venv-peers" / peer / ".installed").exists()


def peer_python(peer: str) -> Path:
    """Return the Python of a peer's own environment.

    Raises:
        SystemExit: the environment is missing.
    """
    python = _PEERS.parents[1] / ".venv-peers" / peer / "bin/python"
    if not python.exists():
        raise SystemExit(f"The peer {peer} is not set up: run `make peers`.")
    return python


def read_evaluation(folder: Path) -> tuple[EvaluationMetrics, Mapping[str, Mapping[str, Any]]]:
    """Return what the stage evaluate left: dense against chosen, and every figure of every candidate by name."""
    remedy = "Run `overwinter run`."
    metrics = read_record(EvaluationMetrics, folder / "metrics.json", remedy=remedy)
    return metrics, read_record(Comparison, folder / "comparison.json", remedy=remedy).candidates


def drawn(inputs: Array, sizes: Sequence[int], *, seed: int = 0) -> dict[int, list[Inputs]]:
    """Draw one batch of each size from inputs (n, ...), to time models with."""
    generator = np.random.default_rng(seed)
    return {size: [inputs[generator.integers(len(inputs), size=size)]] for size in sizes}


def candidate(name: str, variants: Sequence[str], cost: Figures, broken_limits: tuple[str, ...] = ()) -> Candidate:
    """Let variant@runtime compete by its cost alone: all are equally good, the variants in order of simplicity."""
    variant, _, runtime = name.partition("@")
    quality = Quality(
        headline=Measure(name="accuracy"),
        figures={"accuracy": 1.0},
        interval=(1.0, 1.0),
        loss_interval=(0.0, 0.0),
        broken_limits=broken_limits,
    )
    return Candidate(
        variant=variant,
        runtime=runtime,
        simplicity=variants.index(variant),
        size_bytes=0,
        quality=quality,
        cost=BatchCost(batch_size=1, figures={1: cost}),
    )


def load_module(path: Path) -> ModuleType:
    """Return the module in a file, such as one of the tests' stand-ins, which are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
