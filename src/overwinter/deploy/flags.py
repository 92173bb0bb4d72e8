"""Flags that several orchestrators have."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt]?i?")


def memory_limit(text: str) -> str:
    """Return a limit such as 1G: what it goes into has lines, and a text of two would be two settings.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not _MEMORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory, such as 512M")
    return text


def add_program(parser: argparse.ArgumentParser) -> None:
    """Declare ``--program``."""
    parser.add_argument(
        "--program", default=own_program(), help="absolute path of overwinter (the one of this environment)"
    )


def own_program() -> str:
    """Return the path of overwinter in this environment."""
    return str(Path(sys.executable).with_name("overwinter"))
