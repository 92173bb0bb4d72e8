"""`overwinter wake [MODEL...]`: wake models of a running server before anybody asks them."""

from __future__ import annotations

import argparse

from overwinter.cli.server_client import add_server_arguments, set_level


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which models."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="by name; all, if none is named")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wake them; one that was refused is tried again."""
    return set_level(arguments, "ready")
