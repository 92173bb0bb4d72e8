"""docs/language-models.md: its commands compose or parse, and its tables name what there is."""

import re
import shlex
from pathlib import Path

import pytest

from overwinter.cli import _parsed
from overwinter.config import compose, find_project, validate
from overwinter.registries import EXPORT_FORMATS, QUANTIZERS, RUNTIMES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "language-models.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", [line for line in COMMANDS if " run " in line])
def test_every_run_composes(command):
    program, enter, case, run, *overrides = shlex.split(command)
    assert (program, enter, run) == ("overwinter", "-C", "run")
    validate(compose(find_project(ROOT / case), overrides))


@pytest.mark.parametrize("command", [line for line in COMMANDS if " export " in line])
def test_every_export_is_one(command):
    parsed = _parsed(shlex.split(command)[1:])
    assert parsed.command == "export"


def test_its_tables_name_every_format_runtime_and_method():
    table = "".join(line for line in TEXT.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([\w-]+)`", table))
    assert set(EXPORT_FORMATS.built_in) <= named
    # Those that run no language model: compiled as a whole, images, trained grids, and GPUs.
    assert set(RUNTIMES.built_in) - named == {"torch-compile"}
    assert set(QUANTIZERS.built_in) - named == {"int8_static", "qat", "fp8_dynamic", "fp8_weight_only"}


def test_every_key_that_it_names_exists():
    config = compose(find_project(ROOT / "pipelines" / "smollm2"), [])
    for key in set(re.findall(r"`(?:quantize|evaluate|budget)\.(?:\w+\.)*(\w+)", TEXT)):
        assert re.search(rf"^ *{key}:", config, re.MULTILINE), key
