"""`overwinter sleep [MODEL...]`: put models of a running server to rest until they are asked again."""

from __future__ import annotations

import argparse

from overwinter.cli.server_client import add_server_arguments, put_on_rung


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which models, and how deep."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="by name; all, if none is named")
    parser.add_argument("--rung", choices=("parked", "preforked", "off"), default="off", help="how deep (off)")
    add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Put them to rest, after the requests under way."""
    return put_on_rung(arguments, arguments.rung)
