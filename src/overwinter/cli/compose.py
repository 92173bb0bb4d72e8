"""`overwinter compose [overrides]`: write params.yaml and dvc.yaml."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides, such as train.epochs=5")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print which changed."""
    from overwinter.config import find_project
    from overwinter.pipeline.composing import write_composed
    from overwinter.pipeline.plots_page import write_vega

    project = find_project()
    changed = write_composed(project, arguments.overrides)
    for path in changed:
        print(f"wrote {path.relative_to(project.root)}")
    write_vega(project)
    if not changed:
        print("params.yaml and dvc.yaml are up to date")
    return 0
