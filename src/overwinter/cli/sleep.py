"""`overwinter sleep [MODEL...]`: put models of a running server to sleep until they are asked again."""

from __future__ import annotations

import argparse

from overwinter.cli.server_client import add_server_arguments, set_level


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which models, and how deep."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="by name; all, if none is named")
    parser.add_argument("--level", choices=("parked", "preforked", "off"), default="off", help="how deep (off)")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Put them to sleep, after the requests under way."""
    return set_level(arguments, arguments.level)
