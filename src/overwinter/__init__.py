"""Overwinter: give it a PyTorch model and an energy budget.

A script of one's own is metered, limited and recorded by `watch`; `open_meter` meters single windows; `load` wakes a
hibernated model; a stage program uses the subpackages::

    import overwinter as ow

    def train(stage: ow.pipeline.Stage) -> None:
        data = ow.data.load(stage.config.data)

Everything is imported on first use, so that a wrong configuration is refused before torch is imported.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overwinter import (
        budget,
        bundle,
        calibration,
        carbon,
        config,
        data,
        deploy,
        disclosure,
        energy,
        evaluation,
        integrations,
        ledger,
        models,
        pipeline,
        power,
        quantization,
        report,
        runtime,
        serving,
        sparsity,
        tasks,
        training,
        watching,
    )
    from overwinter.bundle import wake as load
    from overwinter.energy import open_meter
    from overwinter.errors import OverwinterError, RefusedError
    from overwinter.watching import current_run, watch

__version__ = "0.1.0"

__all__ = [
    "OverwinterError",
    "RefusedError",
    "budget",
    "bundle",
    "calibration",
    "carbon",
    "config",
    "current_run",
    "data",
    "deploy",
    "disclosure",
    "energy",
    "evaluation",
    "integrations",
    "ledger",
    "load",
    "models",
    "open_meter",
    "pipeline",
    "power",
    "quantization",
    "report",
    "runtime",
    "serving",
    "sparsity",
    "tasks",
    "training",
    "watch",
    "watching",
]

# name -> module and its name there; every other public name is a subpackage
_HOMES = {
    "OverwinterError": ("errors", "OverwinterError"),
    "RefusedError": ("errors", "RefusedError"),
    "current_run": ("watching", "current_run"),
    "load": ("bundle", "wake"),
    "open_meter": ("energy", "open_meter"),
    "watch": ("watching", "watch"),
}


# ONNX Runtime (1.29 and later) sends its vendor the names and digests of the models that it loads, unless this is set
# before the import. The writes for that would also slow a wake down.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'overwinter' has no attribute {name!r}")
    if name in _HOMES:
        home, there = _HOMES[name]
        return getattr(importlib.import_module(f"overwinter.{home}"), there)
    return importlib.import_module(f"overwinter.{name}")
