"""`overwinter bundle verify | inspect | wake PATH`: a hibernated model."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from overwinter.serving import Bundle, read_bundle
from overwinter.units import format_bytes, format_duration, format_si

_ACTIONS = {
    "verify": "check every byte; exit 4 if one was altered",
    "inspect": "verify, and say what it is and where it comes from",
    "wake": "verify, load it and ask its canary; exit 4 if an answer differs",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=summary)
        action.add_argument("path", type=Path, help="the bundle's folder, such as outputs/hibernate/bundle")
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "wake":
            action.add_argument("--threads", type=int, default=1, help="CPU threads that compute one answer")
            action.add_argument(
                "--trust",
                action="append",
                default=[],
                metavar="PACKAGE",
                help="a package whose model class may be built",
            )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; errors carry the exit code."""
    report = _wake(arguments) if arguments.action == "wake" else _inspect(arguments)
    print(json.dumps(report, indent=2) if arguments.json else _lines(report))
    return 0


def _inspect(arguments: argparse.Namespace) -> dict[str, Any]:
    bundle = read_bundle(arguments.path)
    report = _summary(bundle)
    if arguments.action == "inspect":
        report |= {
            "input_shape": list(bundle.input_shape),
            "labels": list(bundle.labels),
            "preprocessing": dict(bundle.preprocessing),
            "canary_samples": len(bundle.canary.inputs),
            "canary_tolerance": bundle.canary.tolerance,
            "production_energy_j": bundle.production_energy_j,
            "lineage": dict(bundle.lineage),
        }
    return report


def _wake(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.hibernation import wake

    begin_s = time.perf_counter()
    model = wake(arguments.path, threads=arguments.threads, trusted=arguments.trust)
    return _summary(model.bundle) | {
        "canary": "answers as recorded",
        "wake_duration_s": time.perf_counter() - begin_s,  # of this process, once it was running
    }


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "bundle": str(bundle.folder),
        "digest": bundle.digest,
        "form": bundle.form,
        "runtime": bundle.runtime,
        "size_bytes": bundle.size_bytes,
    }


def _lines(report: dict[str, Any]) -> str:
    width = max(map(len, report))
    return "\n".join(f"{key.ljust(width)}  {_said(key, value)}" for key, value in report.items())


def _said(key: str, value: Any) -> str:
    if key == "size_bytes":
        return format_bytes(value)
    if key.endswith("_s"):
        return format_duration(value)
    if key.endswith("_j"):
        return "unknown" if value is None else format_si(value, "J")
    return value if isinstance(value, str) else json.dumps(value)
