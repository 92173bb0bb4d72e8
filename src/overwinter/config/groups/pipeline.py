"""The group `pipeline/`: the order of the stages, what each needs, and the gate after each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from overwinter.config.settings import setting
from overwinter.config.targets import DATA, MODEL, refuse_code, trusted_target
from overwinter.errors import ConfigError, nearest

if TYPE_CHECKING:
    from overwinter.config.groups import Config

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("check", "gate")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass
class StageSpec:
    """One stage of the pipeline, from which `overwinter compose` renders a stage of dvc.yaml and its gate."""

    needs: list[str] = setting("earlier stages whose outputs this stage reads")
    params: list[str] = setting("configuration groups and keys that its result depends on")
    outs: list[str] = setting(
        "files and folders it writes to outputs/<stage>/, besides metrics.json, energy.json and power.csv",
        default_factory=lambda: ["model"],
    )
    reports: list[str] = setting("further files it writes, on which no stage depends", default_factory=list)
    program: str | None = setting("its program in `programs`, without .py; null: the stage's name", default=None)


@dataclass
class PipelineConfig:
    """The pipeline: its stages, and the code they run."""

    programs: str = setting("folder of the stage programs, relative to dvc.yaml")
    code: list[str] = setting("files or folders that every stage depends on, such as your own package")
    stages: dict[str, StageSpec] = setting("stages by name; they run in this order, each after the stages it needs")


def in_order(stages: Mapping[str, StageSpec]) -> dict[str, StageSpec]:
    """Return the stages in the order listed, each after the stages it needs.

    A stage that needs itself or an unknown stage comes last.
    """
    ordered: dict[str, StageSpec] = {}
    left = dict(stages)
    while ready := next((name for name, spec in left.items() if all(need in ordered for need in spec.needs)), None):
        ordered[ready] = left.pop(ready)
    return ordered | left


def check_pipeline(config: Config) -> None:
    """Check the device, the model and data targets, and that the stages can be put in order.

    Raises:
        ConfigError: the first wrong value, with its key.
    """
    if not _DEVICE.fullmatch(config.device):
        raise ConfigError(f"device={config.device!r} is unknown. Allowed: auto, cpu, cuda, cuda:N.")
    for kind in (MODEL, DATA):
        node = getattr(config, kind.key)
        trusted_target(node, kind, trusted=config.trusted_targets)
        refuse_code(node, key=kind.key)
    if not config.pipeline.stages:
        raise ConfigError("pipeline.stages is empty. Name at least one stage.")
    keys = [field.name for field in fields(config)]
    earlier: list[str] = []
    for name, spec in config.pipeline.stages.items():
        _check_stage(name, spec, earlier, keys)
        earlier.append(name)


def _check_stage(name: str, spec: StageSpec, earlier: list[str], keys: list[str]) -> None:
    where = f"pipeline.stages.{name}"
    if not _STAGE_NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"{where}: a stage's name is lower-case letters, digits and _, and not {' or '.join(_RESERVED)}."
        )
    if spec.program is not None and not _STAGE_NAME.fullmatch(spec.program):
        raise ConfigError(f"{where}.program={spec.program!r} is not a program's name. Leave out the folder and .py.")
    for need in spec.needs:
        if need not in earlier:
            raise ConfigError(
                f"{where}.needs: {need!r} is not an earlier stage. Earlier stages: {', '.join(earlier) or 'none'}."
            )
    for key in spec.params:
        if key.split(".", 1)[0] not in keys:
            raise ConfigError(f"{where}.params: there is no key {key!r}.{nearest(key, keys)}")
    if not spec.outs:
        raise ConfigError(f"{where}.outs is empty. Name at least one output, such as [model].")
