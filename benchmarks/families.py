"""Tiny models of the families that people use, each taken from training to a woken bundle in one process.

For each: one epoch on digits or text; channels removed and fine-tuned; every int8 quantizer; every runtime that claims
a variant; a bundle, woken. A step goes through, or is refused in words, or fails inside, which is a bug. How far the
outputs are from the dense model's is the task's divergence. docs/model-families.md is written from the result.

python benchmarks/families.py [FAMILY ...]   # all by default; those named replace their rows in results/families.json
python benchmarks/families.py --sparsify   # trains and sparsifies alone, and keeps the other steps' records
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import family_page
from common import RESULTS, write_result
from family_models.catalog import FAMILIES
from family_walk import COMPILED, LIMITS, Walk, verdict

RESULT = RESULTS / "families.json"


def row(walk: Walk, duration_s: float) -> dict[str, Any]:
    """Return a family's row of the result."""
    return {
        "title": walk.family.title,
        "task": walk.family.task["name"],
        "verdict": verdict(walk.steps),
        "duration_s": round(duration_s, 1),
        "steps": {name: _brief(asdict(step)) for name, step in walk.steps.items()},
    }


def _brief(step: Mapping[str, Any]) -> dict[str, Any]:
    rounded = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in step.items()}
    return {key: value for key, value in rounded.items() if value not in ("", None)}


def walked(name: str, *, compiled: Sequence[str]) -> dict[str, Any]:
    """Take one family through all steps, and return its row."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        walk = Walk(family=FAMILIES[name], folder=Path(scratch), compiled=compiled)
        walk.run()
    return row(walk, time.perf_counter() - began)


def sparsified(name: str, old: Mapping[str, Any]) -> dict[str, Any]:
    """Train and sparsify one family, and return its row with the other steps as they were."""
    with tempfile.TemporaryDirectory() as scratch:
        walk = Walk(family=FAMILIES[name], folder=Path(scratch), quantizers=(), runtimes=())
        walk.run()
    steps = {**old["steps"], "sparsify": _brief(asdict(walk.steps["sparsify"]))}
    return {**old, "steps": steps, "sparsified_again": True}


def _print(name: str, found: Mapping[str, Any]) -> None:
    print(f"== {name}: {found['verdict']} ({found['duration_s']} s)")
    for step, became in found["steps"].items():
        figures = {key: value for key, value in became.items() if key not in ("outcome", "words")}
        print(f"  {step}: {became['outcome']} {figures or ''} {became.get('words', '')}", flush=True)


def main() -> None:
    """Walk the families that are named, write their rows, and the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--compile", action="store_true", help="build for torch-compile too, a minute for each variant")
    parser.add_argument("--sparsify", action="store_true", help="train and sparsify alone, keep the other records")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["families"] if RESULT.exists() else {}
    for name in arguments.families or FAMILIES:
        if arguments.sparsify:
            rows[name] = sparsified(name, rows[name])
        else:
            rows[name] = walked(name, compiled=COMPILED if arguments.compile else ())
        _print(name, rows[name])
        ordered = {each: rows[each] for each in FAMILIES if each in rows}
        write_result("families", {"limits": LIMITS, "families": ordered})
    family_page.write()


if __name__ == "__main__":
    main()
