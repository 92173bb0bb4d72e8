"""Checks of the root keys and of the group `pipeline/`."""

from __future__ import annotations

import re
from dataclasses import fields

from overwinter.config.groups import Config, StageSpec
from overwinter.config.targets import DATA, MODEL, refuse_code, trusted_target
from overwinter.errors import ConfigError, nearest

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("check", "gate")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def check_pipeline(config: Config) -> None:
    """Check that the stages can be put in order and depend on what exists.

    Raises:
        ConfigError: the first wrong value, with its key.
    """
    _check_root(config)
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


def _check_root(config: Config) -> None:
    if not _DEVICE.fullmatch(config.device):
        raise ConfigError(f"device={config.device!r} is unknown. Allowed: auto, cpu, cuda, cuda:N.")
    if config.threads is not None and config.threads < 1:
        raise ConfigError(f"threads={config.threads} must be 1 or more, or null for torch's choice.")
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"seed={config.seed} must be between 0 and {2**32 - 1}.")


def _check_stage(name: str, spec: StageSpec, earlier: list[str], keys: list[str]) -> None:
    where = f"pipeline.stages.{name}"
    if not _STAGE_NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"{where}: a stage's name is lower-case letters, digits and _, and not {' or '.join(_RESERVED)}."
        )
    if spec.program is not None and not _STAGE_NAME.fullmatch(spec.program):
        raise ConfigError(f"{where}.program={spec.program!r} is no name of a program. Name one without folder and .py.")
    for need in spec.needs:
        if need not in earlier:
            raise ConfigError(f"{where}.needs: {need!r} is no earlier stage. Earlier: {', '.join(earlier) or 'none'}.")
    for key in spec.params:
        if key.split(".", 1)[0] not in keys:
            raise ConfigError(f"{where}.params: there is no key {key!r}.{nearest(key, keys)}")
    if not spec.outs:
        raise ConfigError(f"{where}.outs is empty. A stage leaves something, for instance [model].")
