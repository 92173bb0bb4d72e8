"""Woken models whose session is a function of numpy arrays: what a server does with any signature and task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from overwinter.bundle import AwakeModel, BundleFacts, Canary
from overwinter.bundle.surroundings import open_task
from overwinter.inputs import Array, Inputs
from overwinter.signature import OUTPUT, Signature, TensorSpec


@dataclass(frozen=True, kw_only=True)
class _Described(BundleFacts):
    canary: Canary
    digest: str = "ab" * 32


def specs(**inputs: tuple[str, tuple[int | None, ...]]) -> tuple[TensorSpec, ...]:
    """Return inputs by name as (dtype, shape)."""
    return tuple(TensorSpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in inputs.items())


def woken(
    run: Callable[[Inputs], Array],
    inputs: tuple[TensorSpec, ...],
    output: tuple[int | None, ...],
    *,
    canary: Inputs,
    task: dict[str, Any] | None = None,
    labels: Sequence[str] = (),
    preprocessing: Any = None,
) -> AwakeModel:
    """Return a woken model that computes ``run``."""
    facts = _Described(
        variant="dense",
        runtime="onnxruntime",
        signature=Signature(inputs=inputs, outputs=(TensorSpec(name=OUTPUT, dtype="float32", shape=output),)),
        labels=tuple(labels),
        preprocessing={} if preprocessing is None else preprocessing.to_json(),
        production_energy_j=None,
        lineage={},
        task=task or {"name": "classification"},
        canary=Canary(inputs=canary, outputs=run(canary), tolerance=1e-3),
    )
    session: Any = SimpleNamespace(run=run)
    bundle: Any = facts
    return AwakeModel(bundle, session, task=open_task(facts), preprocessing=preprocessing, steps_s={})
