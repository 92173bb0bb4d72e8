"""`overwinter init DIR`: create a project that runs at once, also around a script that is there already."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder, and what it shall hold."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="created if missing")
    parser.add_argument(
        "--from", dest="script", metavar="SCRIPT.py", type=Path, help="a training script whose model and data to run"
    )
    parser.add_argument(
        "--case", dest="cases", metavar="NAME", action="append", default=[], help="a case to copy too, such as fashion"
    )


def run(arguments: argparse.Namespace) -> int:
    """Create the project and print the next step."""
    from overwinter.pipeline.creation import create_project
    from overwinter.pipeline.script_reading import read_script
    from overwinter.pipeline.wrapping import wrap_script

    folder = arguments.folder
    script = read_script(arguments.script) if arguments.script else None  # before anything is written
    create_project(folder, cases=arguments.cases)
    if script is None:
        print(f"{folder}: edit configs/ and stages/ as you need.")
        print(f"Next: cd {folder} && overwinter run")
        return 0
    wrapped = wrap_script(folder, arguments.script, script)
    print(f"{folder}: wrote {', '.join(wrapped.files)}")
    for line in wrapped.to_edit:
        print(f"  edit {line}")
    print(f"Next: cd {folder} && overwinter plan")
    return 0
