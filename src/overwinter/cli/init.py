"""`overwinter init DIR`: a new project that runs at once."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="made if it is not there")


def run(arguments: argparse.Namespace) -> int:
    """Create the project and say what to do next."""
    from overwinter.pipeline.creation import create_project

    create_project(arguments.folder)
    print(f"{arguments.folder}: configs/ is yours to edit, stages/ yours to read and change.")
    print(f"Next: cd {arguments.folder} && overwinter run")
    return 0
