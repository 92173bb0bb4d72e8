"""docs/compress.md: its commands compose, and its table names what there is."""

import re
import shlex
from pathlib import Path

import pytest

from overwinter.config import compose, validate
from overwinter.registries import QUANTIZERS, RUNTIMES

TEXT = (Path(__file__).parents[2] / "docs" / "compress.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(project, command):
    program, *words = shlex.split(command)
    assert (program, words[0]) in {
        ("python", "stages/quantize.py"),
        ("python", "stages/evaluate.py"),
        ("overwinter", "run"),
    }
    validate(compose(project, words[1:]))


def test_the_table_names_every_method_and_runtime():
    table = "".join(line for line in TEXT.splitlines() if line.startswith("|"))
    assert set(QUANTIZERS.built_in) <= set(re.findall(r"`(\w+)`", table))
    assert all(f"`{name}`" in TEXT for name in RUNTIMES.built_in)


def test_every_key_that_it_names_exists(project):
    config = compose(project, ["quantize=mixed", "budget=saving"])
    for key in set(re.findall(r"`(?:quantize|evaluate|budget)\.(?:\w+\.)*(\w+)", TEXT)):
        assert re.search(rf"^ *{key}:", config, re.MULTILINE), key
