"""Flags that several orchestrators share."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt]?i?")


def memory_limit(text: str) -> str:
    """Return a memory limit such as 1G, checked, since a line break would add a setting to a rendered file.

    Raises:
        argparse.ArgumentTypeError: The text is not an amount of memory.
    """
    if not _MEMORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory, such as 512M")
    return text


def add_program(parser: argparse.ArgumentParser) -> None:
    """Declare ``--program``."""
    parser.add_argument("--program", default=own_program(), help="absolute path of overwinter (this environment's)")


def own_program() -> str:
    """Return the path of `overwinter` in this environment."""
    return str(Path(sys.executable).with_name("overwinter"))
