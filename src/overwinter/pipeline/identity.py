"""Digests of everything that determines a stage's result: its parameters, its inputs, and the code it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from overwinter import __version__
from overwinter.config import Config, Project
from overwinter.data.local_files import remote_places, remote_versions
from overwinter.errors import IntegrityError
from overwinter.files import digest, tree_digest
from overwinter.pipeline.code import code_digests, code_parameters

_AMOUNT = frozenset({"epochs"})
# Settings that change the result of a step, not its cost.
_NEUTRAL = _AMOUNT | {
    "checkpoint_interval_s",
    "distillation_temperature",
    "distillation_weight",
    "gradient_clip_norm",
    "label_smoothing",
    "learning_rate",
    "patience_epochs",
    "schedule",
    "schedule_interval",
    "warmup_fraction",
    "weight_decay",
}


def lineage(config: Config, project: Project, stage: str) -> dict[str, Any]:
    """Return the digests of everything that determines the result of ``stage``, the user's own code included.

    A data set and a model at fsspec addresses count by the versions of what is there now.

    Raises:
        IntegrityError: an input is missing.
        OverwinterError: an address cannot be reached.
    """
    code = code_digests(config, project, stage)
    read = [group for group in remote_places(config) if group in config.pipeline.stages[stage].params]
    versions = remote_versions(config) if read else {}
    return {
        "stage": stage,
        "inputs": _input_digests(config, project, stage),
        "parameters_sha256": digest(_parameters(config, stage)),
        "overwinter": __version__,
        **({"code": code} if code else {}),
        **{group: versions[group] for group in read},
    }


def configuration_key(config: Config, project: Project, stage: str) -> str:
    """Return the digest of everything that determines the result of ``stage``."""
    return digest(lineage(config, project, stage))


def declared_work(config: Config, stage: str) -> float:
    """Return the amount of work by which a forecast scales: the stage's epochs, or 1 if it has none."""
    group = getattr(config, stage, None)
    return float(getattr(getattr(group, "fit", group), "epochs", 1))


def workload(config: Config, stage: str) -> dict[str, Any]:
    """Return the settings that determine one step of ``stage``, without the power policy and the number of steps."""
    everything = asdict(config)
    keys = {"model", "data", *config.pipeline.stages[stage].params} - {"power", "seed"}
    return {"stage": stage, **{key: _without(_dotted(everything, key), _AMOUNT) for key in sorted(keys)}}


def likeness(config: Config, stage: str) -> str:
    """Return a digest shared by executions of ``stage`` whose steps cost the same, whatever their number.

    Settings that change what is learned but not the cost of learning it do not change the digest.
    """
    everything = asdict(config)
    keys = {"model", "data", *config.pipeline.stages[stage].params} - {"seed"}
    return digest({"stage": stage, **{key: _without(_dotted(everything, key), _NEUTRAL) for key in sorted(keys)}})


def artifacts_read(described: dict[str, Any]) -> dict[str, str]:
    """Return the artifact digest of each stage that a result depends on, from its `lineage`."""
    outs: dict[str, dict[str, str]] = {}
    for name, content in described["inputs"].items():
        stage, _, out = name.partition("/")
        outs.setdefault(stage, {})[out] = content
    return {stage: digest(content) for stage, content in outs.items()}


def _parameters(config: Config, stage: str) -> dict[str, Any]:
    everything = asdict(config)
    keys = [*config.pipeline.stages[stage].params, *code_parameters(config, stage)]
    return {key: _dotted(everything, key) for key in keys}


def _without(tree: Any, names: frozenset[str]) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: _without(value, names) for key, value in tree.items() if key not in names}


def _input_digests(config: Config, project: Project, stage: str) -> dict[str, str]:
    digests = {}
    for need in config.pipeline.stages[stage].needs:
        for out in config.pipeline.stages[need].outs:
            path = project.outputs / need / out
            if not path.exists():
                raise IntegrityError(f"{path} is missing. Run `dvc repro {stage}`.")
            digests[f"{need}/{out}"] = tree_digest(path)
    return digests


def _dotted(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree
