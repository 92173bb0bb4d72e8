"""The group `pipeline/`: the order of the stages, what each needs, and the gate after each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class StageSpec:
    """One stage of the pipeline, from which `overwinter compose` renders a stage of dvc.yaml and its gate.

    Attributes:
        needs: earlier stages whose outputs it reads.
        params: configuration groups and keys on which its result depends.
        outs: what it leaves in `outputs/<stage>/`, beside metrics.json, energy.json and power.csv.
        reports: further files it leaves, on which no stage depends.
        program: name of its program in `programs`, without .py; null: the stage's own name.
    """

    needs: list[str] = MISSING
    params: list[str] = MISSING
    outs: list[str] = field(default_factory=lambda: ["model"])
    reports: list[str] = field(default_factory=list)
    program: str | None = None


@dataclass
class PipelineConfig:
    """The pipeline.

    Attributes:
        programs: folder of the stage programs, relative to dvc.yaml.
        code: further files or folders on which every stage depends, for instance your own package.
        stages: name -> what it needs; they run in this order, but each behind those that it needs (`in_order`).
    """

    programs: str = MISSING
    code: list[str] = MISSING
    stages: dict[str, StageSpec] = MISSING


def in_order(stages: Mapping[str, StageSpec]) -> dict[str, StageSpec]:
    """Return the stages each behind those that it needs, and else as they are listed.

    What needs itself, or a stage that is not there, comes last.
    """
    ordered: dict[str, StageSpec] = {}
    left = dict(stages)
    while ready := next((name for name, spec in left.items() if all(need in ordered for need in spec.needs)), None):
        ordered[ready] = left.pop(ready)
    return ordered | left
