"""`overwinter sleep [MODEL...]`: put models of a running server to sleep until their next request."""

from __future__ import annotations

import argparse

from overwinter.cli.server_client import add_server_arguments, set_level


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the models and the sleep level."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models (all)")
    parser.add_argument("--level", choices=("parked", "preforked", "off"), default="off", help="sleep level (off)")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Put the models to sleep, after the requests in progress."""
    return set_level(arguments, arguments.level)
