"""docs/serve.md names keys that exist, and commands that parse."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from overwinter.cli import bundle, serve, sleep, status, wake

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
MODULES = {"bundle": bundle, "serve": serve, "sleep": sleep, "status": status, "wake": wake}
LINES = [line for line in TEXT.splitlines() if line.startswith(tuple(f"overwinter {name}" for name in MODULES))]


@pytest.mark.parametrize("key", sorted(set(re.findall(r"serve((?:\.[a-z_]\w*)+)", TEXT)) - {".md"}))
def test_every_key_exists(service, key):
    here = service.serve
    for name in key[1:].split("."):
        here = getattr(here, name)


@pytest.mark.parametrize("line", LINES)
def test_every_command_parses(line):
    _, name, *words = shlex.split(line)
    parser = argparse.ArgumentParser()
    MODULES[name].add_arguments(parser)
    assert parser.parse_args(words)
