"""`overwinter wake [MODEL...]`: wake models of a running server before their next request."""

from __future__ import annotations

import argparse

from overwinter.cli.server_client import add_server_arguments, set_level


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the models."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models (all)")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wake the models; one that was refused is tried again."""
    return set_level(arguments, "ready")
