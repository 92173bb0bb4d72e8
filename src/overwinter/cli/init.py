"""`overwinter init DIR`: create a project that runs at once."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="created if missing")


def run(arguments: argparse.Namespace) -> int:
    """Create the project and print the next step."""
    from overwinter.pipeline.creation import create_project

    create_project(arguments.folder)
    print(f"{arguments.folder}: edit configs/ and stages/ as you need.")
    print(f"Next: cd {arguments.folder} && overwinter run")
    return 0
