"""`overwinter doctor`: show what this machine can meter and limit, and what is missing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.config.groups import EnergyConfig, HardwareConfig

_PACKAGES = ("torch", "torchao", "onnxruntime", "hydra-core", "dvc", "codecarbon", "nvidia-ml-py")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: The subject of the check, such as `energy: rapl`.
        good: Whether the subject can be used.
        detail: The finding.
        advice: What to do if it cannot be used; empty if there is nothing to do.
        required: Whether nothing can be relied on without it: then the exit code is 1.
    """

    topic: str
    good: bool
    detail: str
    advice: str = ""
    required: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the output format."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run every check, print the findings, and return 1 if something required is missing or wrong."""
    findings = [*_system(), *_packages(), *_meters(), *_self_test(), *_tools(), *_project()]
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    return int(any(finding.required and not finding.good for finding in findings))


def _system() -> list[Finding]:
    cores = len(os.sched_getaffinity(0))
    return [
        Finding(
            topic="python",
            good=True,
            detail=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        ),
        Finding(topic="cpu", good=True, detail=f"{cores} usable core{'s' if cores > 1 else ''}"),
    ]


def _packages() -> list[Finding]:
    findings = []
    for name in _PACKAGES:
        try:
            findings.append(Finding(topic=f"package: {name}", good=True, detail=version(name), required=True))
        except PackageNotFoundError:
            advice = f"pip install {name}"
            findings.append(
                Finding(topic=f"package: {name}", good=False, detail="missing", advice=advice, required=True)
            )
    return findings


def _meters() -> list[Finding]:
    from overwinter.energy import probe

    energy, hardware = _metering()
    return [
        Finding(topic=f"energy: {source.name}", good=source.available, detail=source.reason, advice=source.remedy)
        for source in probe(energy, hardware)
    ]


def _self_test() -> list[Finding]:
    """Meter a second of idling and of work, and judge what the meters say."""
    from overwinter.energy.self_test import check_meters
    from overwinter.errors import OverwinterError

    try:
        checks = check_meters(*_metering())
    except OverwinterError as error:
        return [Finding(topic="self-test", good=False, detail=str(error), required=True)]
    return [
        Finding(
            topic=f"self-test: {check.device}",
            good=not check.fault,
            detail=check.fault
            or f"{check.idle_w:.2g} W idle, {check.busy_w:.2g} W with one core busy ({check.source})",
            advice="take the source out of energy.sources, or try again on a quiet machine" if check.fault else "",
            required=True,
        )
        for check in checks
    ]


def _metering() -> tuple[EnergyConfig, HardwareConfig]:
    """Return the project's meter settings; the template's if there is no usable project."""
    from overwinter.config import find_project, load_config, validate
    from overwinter.errors import OverwinterError
    from overwinter.template import template_folder

    try:
        config = load_config(find_project())
    except OverwinterError:
        config = validate((template_folder() / "params.yaml").read_text(encoding="utf-8"))
    return config.energy, config.hardware


def _tools() -> list[Finding]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    git = shutil.which("git")
    return [
        Finding(
            topic="tool: git",
            good=bool(git),
            detail=git or "missing",
            advice="" if git else "`dvc exp run` needs git",
        ),
        Finding(
            topic="tool: C compiler",
            good=bool(compiler),
            detail=compiler or "missing",
            advice="" if compiler else "torch.compile needs one, for instance gcc",
        ),
    ]


def _project() -> list[Finding]:
    from overwinter.config import find_project, load_config
    from overwinter.errors import OverwinterError
    from overwinter.pipeline.composing import refuse_stale

    try:
        project = find_project()
        refuse_stale(load_config(project), project)
    except OverwinterError as error:
        return [Finding(topic="project", good=False, detail=str(error).splitlines()[0], advice="see above")]
    writable = os.access(project.root, os.W_OK)
    detail = _relative(project.root) if writable else "cannot be written"
    return [Finding(topic="project", good=writable, detail=detail)]


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _print_table(findings: list[Finding]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for title in ("", "what", "found", "what to do"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        table.add_row("yes" if finding.good else "no", finding.topic, finding.detail, finding.advice)
    Console().print(table)
