"""`overwinter simulate power | hibernation`: replay a recorded trace through a policy, against the offline optimum."""

from __future__ import annotations

import argparse
import importlib

_SUBJECTS = {
    "power": "replay a carbon trace through a power policy, on a device's table of watts and seconds",
    "hibernation": "replay recorded requests through a sleep policy",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare both simulations and their arguments."""
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, summary in _SUBJECTS.items():
        subject = subjects.add_parser(name, help=summary, description=summary)
        importlib.import_module(f"overwinter.cli.simulate_{name}").add_arguments(subject)


def run(arguments: argparse.Namespace) -> int:
    """Run the simulation."""
    return int(importlib.import_module(f"overwinter.cli.simulate_{arguments.subject}").run(arguments))
