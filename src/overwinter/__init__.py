"""Overwinter: give it a PyTorch model and an energy budget.

Subpackages are imported on first use, so that a wrong configuration is refused before torch is imported::

    import overwinter as ow

    def train(stage: ow.pipeline.Stage) -> None:
        data = ow.data.load(stage.config.data)
"""

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter import (
        budget,
        bundle,
        calibration,
        carbon,
        config,
        data,
        deploy,
        energy,
        evaluation,
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
    )

__version__ = "0.1.0"

__all__ = [
    "budget",
    "bundle",
    "calibration",
    "carbon",
    "config",
    "data",
    "deploy",
    "energy",
    "evaluation",
    "ledger",
    "models",
    "pipeline",
    "power",
    "quantization",
    "report",
    "runtime",
    "serving",
    "sparsity",
    "tasks",
    "training",
]


# ONNX Runtime (1.29 and later) sends its vendor the names and digests of the models that it loads, unless this is set
# before the import. The writes for that would also slow a wake down.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"overwinter.{name}")
    raise AttributeError(f"module 'overwinter' has no attribute {name!r}")
