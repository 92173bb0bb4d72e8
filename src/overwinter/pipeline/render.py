"""Rendering of dvc.yaml from configs/pipeline/: deterministic, readable, committed.

Every stage depends on the constant answer of `check`, on the outputs it needs, and on the verdict of the gate
before it. A gate depends on all joules spent up to it and on the budget; its verdict holds no numbers, so that
new joules for the same model run only the gate again.

What people compare (metrics.json, energy.json, the gates' verdicts) is in Git, `cache: false`, so that `dvc metrics
diff` and `dvc exp show` work on a fresh clone. DVC's run-cache keeps a copy of it anyway: a stage that DVC
restores gets back the joules that its result cost.
"""

from __future__ import annotations

import os
from typing import Any

from overwinter.config.groups import Config, StageSpec
from overwinter.config.project import Project
from overwinter.paths import PACKAGE
from overwinter.pipeline.plots import TEMPLATE

_HEADER = """\
# Rendered by `overwinter compose` from configs/pipeline/: edit that, not this.
"""
COMPARISON = "comparison.json"  # every figure of every candidate, for the gate's limits on any of them
STAGING = ".part-"  # how the name of an output begins that is still being written
_POWER = {"x": "time_s", "x_label": "seconds", "y": "power_w", "y_label": "watts"}
_CHECK_OUT = "outputs/check/check.json"


def render_dvc_yaml(config: Config, project: Project) -> str:
    """Return the text of dvc.yaml."""
    import yaml

    return _HEADER + yaml.safe_dump({"stages": rendered_stages(config, project)}, sort_keys=False, width=120)


def render_gitignore(config: Config) -> str:
    """Return the text of outputs/.gitignore: what DVC keeps, Git does not.

    DVC would add a .gitignore per stage, but only after a run in which nothing failed.
    """
    kept = [f"/{name}/{out}" for name, spec in config.pipeline.stages.items() for out in _cached(spec)]
    return _HEADER + "".join(f"{path}\n" for path in ["/check/check.json", *kept, f"/*/{STAGING}*"])


def _cached(spec: StageSpec) -> list[str]:
    return [*spec.outs, *spec.reports, "power.csv"]


def rendered_stages(config: Config, project: Project) -> dict[str, Any]:
    """Return the stages of dvc.yaml by name: the check, then each stage with its gate."""
    stages: dict[str, Any] = {"check": _check(config, project)}
    names = list(config.pipeline.stages)
    for position, (name, spec) in enumerate(config.pipeline.stages.items()):
        stages[name] = _stage(name, spec, config, before=names[:position])
        stages[gate_name(name)] = _gate(name, config, before=names[:position])
    return stages


def gate_name(stage: str) -> str:
    """Return DVC's name of the gate after ``stage``."""
    return f"gate-{stage}"


def stage_out(stage: str, out: str) -> str:
    """Return the path of an output, relative to the project's root."""
    return f"outputs/{stage}/{out}"


def stage_program(stage: str, config: Config) -> str:
    """Return the path of the program that runs a stage, relative to the project's root."""
    return f"{config.pipeline.programs}/{config.pipeline.stages[stage].program or stage}.py"


def _check(config: Config, project: Project) -> dict[str, Any]:
    program = f"{config.pipeline.programs}/check.py"
    configs = os.path.relpath(project.configs, project.root)
    return {
        "desc": "params.yaml is valid and as configs/ says",
        "cmd": f"python {program}",
        "deps": [configs, program],
        "params": [{"params.yaml": None}],
        "outs": [_CHECK_OUT],
    }


def _stage(name: str, spec: StageSpec, config: Config, *, before: list[str]) -> dict[str, Any]:
    program = stage_program(name, config)
    needed = [stage_out(need, out) for need in spec.needs for out in config.pipeline.stages[need].outs]
    verdict = [stage_out(before[-1], "gate.json")] if before else []
    return {
        "cmd": f"python {program}",
        "deps": [_CHECK_OUT, program, *config.pipeline.code, *_data_files(spec, config), *needed, *verdict],
        "params": list(spec.params),
        "outs": [stage_out(name, out) for out in [*spec.outs, *spec.reports]],
        "metrics": _in_git(name, "metrics.json", "energy.json"),
        "plots": [{stage_out(name, "power.csv"): {"template": TEMPLATE, **_POWER, "title": f"{name}: power"}}],
    }


def _gate(name: str, config: Config, *, before: list[str]) -> dict[str, Any]:
    program = f"{config.pipeline.programs}/gate.py"
    judged = [stage_out(stage, report) for stage in [*before, name] for report in ("energy.json", "metrics.json")]
    if COMPARISON in config.pipeline.stages[name].reports:
        judged.append(stage_out(name, COMPARISON))
    return {
        "cmd": f"python {program} {name}",
        "deps": [program, *judged],
        "params": ["budget"],
        "metrics": _in_git(name, "gate.json", "gate_report.json"),
    }


def _in_git(stage: str, *metrics: str) -> list[dict[str, Any]]:
    return [{stage_out(stage, name): {"cache": False}} for name in metrics]


def _data_files(spec: StageSpec, config: Config) -> list[str]:
    """The files of the data set and of a pretrained model, where there are any: DVC then knows them by content.

    What an installed package carries is elsewhere on every machine: its digest (`sha256`) stands for it.
    """
    roots = {key: getattr(config, key).get("root") for key in ("data", "model") if key in spec.params}
    return [str(root) for root in roots.values() if root and not str(root).startswith(PACKAGE)]
