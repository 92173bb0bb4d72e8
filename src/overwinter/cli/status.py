"""`overwinter status`: show which models of a running server are asleep or awake, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from overwinter.cli.server_client import add_server_arguments, ask_server
from overwinter.units import format_bytes, format_duration, format_si


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the server and the output format."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the status."""
    status = ask_server(arguments, "/overwinter/status")
    print(json.dumps(status, indent=2) if arguments.json else _lines(status))
    return 0


def _lines(status: Mapping[str, Any]) -> str:
    own = status["supervisor"]
    lines = [f"supervisor {own['pid']}: {format_bytes(own['resident_bytes'])}, {own['cpu_s']:.1f} s of CPU time"]
    if status["deferred"]:
        lines.append(f"{status['deferred']} request(s) wait for lower carbon intensity")
    for name, model in status["models"].items():
        lines.append(
            f"{name}: {model['state']} ({_why(model)}), {model['queue']} waiting, {model['replicas']} replica(s)"
        )
        lines.append(f"  {model['requests']} requests, {model['wakes']} wakes, {model['crashes']} crashes")
        lines.append(f"  {_energy(model)}")
    return "\n".join(lines)


def _why(model: Mapping[str, Any]) -> str:
    next_s = model["next_decision_in_s"]
    return str(model["why"]) if next_s is None else f"{model['why']}; decides again in {format_duration(next_s)}"


def _energy(model: Mapping[str, Any]) -> str:
    spent = format_si(sum(model["energy_j"].values()), "J")
    saved = model["saved_j"]
    if saved is None:
        return f"{spent} ({model['energy_basis']})"
    value, uncertainty = format_si(saved["value"], "J"), format_si(saved["standard_uncertainty"], "J")
    return f"{spent}, saved {value} with a standard uncertainty of {uncertainty} ({model['energy_basis']})"
