"""The table of compressed SmolLM2-135M, a row for each method: for `quantization_smollm2` and `sparsity_smollm2`."""

from __future__ import annotations

import argparse
import copy
import json
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import common
import smollm2
from overwinter.models.huggingface import pretrained_tokenizer


@dataclass(kw_only=True)
class Work:
    """Runs a method's parts, and counts what they cost.

    Attributes:
        keep: folder for parts that later runs may take up; None: nothing is kept.
        parts: name -> seconds, and seconds of CPU.
    """

    keep: Path | None
    parts: dict[str, dict[str, float]] = field(default_factory=dict)

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns."""
        begun, worked = time.perf_counter(), _cpu_s()
        made = make()
        self.parts[name] = {"seconds": time.perf_counter() - begun, "cpu_seconds": _cpu_s() - worked}
        print(name, self.parts[name], flush=True)
        return made

    def kept_part(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns, or returned in an earlier run, and count what it cost then."""
        path = None if self.keep is None else self.keep / f"{name}.pt"
        if path is not None and path.exists():
            kept = torch.load(path, weights_only=True)
            self.parts[name] = kept["cost"]
            return kept["made"]
        made = self.part(name, make)
        if path is not None:
            path.parent.mkdir(exist_ok=True)
            torch.save({"cost": self.parts[name], "made": made}, path)
        return made


Method = Callable[[Work, Any, Any, torch.Tensor], None]
"""(work, model to compress in place, dense model, calibration windows)"""


def peer(name: str, program: str, *arguments: str) -> Method:
    """Return a peer's own method in its own environment, on the same windows; its seconds hold starting and loading."""

    def compress(work: Work, model: Any, dense: Any, calibration: torch.Tensor) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder, windows, result = (Path(scratch) / part for part in ("model", "windows", "result"))
            dense.network.save_pretrained(folder)
            pretrained_tokenizer(smollm2.GGUF).save_pretrained(folder)
            save_file({"windows": calibration.contiguous()}, windows)
            work.part(name, lambda: common.run_peer(name, program, folder, windows, result, *arguments))
            with torch.no_grad():
                for layer, weight in load_file(result).items():
                    model.network.get_submodule(layer).weight.copy_(weight)

    return compress


def make_table(
    name: str,
    methods: Mapping[str, Method],
    *,
    calibration_windows: int,
    about: str,
    also: Callable[[Any], dict[str, Any]] = lambda _: {},
) -> None:
    """Score the dense model and each method on the same windows, and write the table after each.

    Args:
        name: Of the result file, whose other rows are kept.
        methods: By name; the command line may choose some.
        calibration_windows: How many a method is given.
        about: The program's description.
        also: What else a row has of a compressed model.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(methods))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    dense, tokenizer = smollm2.load()
    calibration = smollm2.calibration_windows(tokenizer, calibration_windows)
    scored = smollm2.scored_windows(tokenizer)
    reference = {domain: smollm2.reference(dense, windows) for domain, windows in scored.items()}
    path = common.RESULTS / f"{name}.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for method in arguments.methods or methods:
        model, work = copy.deepcopy(dense), Work(keep=arguments.keep)
        methods[method](work, model, dense, calibration)
        cost = {key: sum(part[key] for part in work.parts.values()) for key in ("seconds", "cpu_seconds")}
        row = {**cost, "parts": work.parts, "calibration_windows": calibration_windows, **also(model)}
        for domain, windows in scored.items():
            losses, logits = reference[domain]
            scores, divergences = smollm2.score(model, windows, logits)
            row[domain] = smollm2.ratio(scores, losses) | {"kl_nats": sum(divergences) / len(divergences)}
        rows[method] = row
        print(method, row, flush=True)
        common.write_result(name, {"dense": "dequantized Q4_1 GGUF", "threads": torch.get_num_threads(), "rows": rows})


def _cpu_s() -> float:
    """Return the CPU time of this process and of the children that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
