"""Every command of the README's `sh` blocks, as a reader would type them after the first run of the pipeline."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXITS = re.compile(r"\s+# exits with (\d+)$")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, int]]:
    """The commands and the exit codes they announce."""
    found = [(line, EXITS.search(line)) for line in block.splitlines() if line.strip()]
    return [(EXITS.sub("", line), int(announced[1]) if announced else 0) for line, announced in found]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_command_of_the_readme_does_what_it_says(space, block):
    for command, exit_code in commands(block):
        done = space("bash", "-c", command, check=False)
        assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_quotes_only_what_is_on_file():
    readme = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))
    text = (ROOT / "README.md").read_text()
    assert readme["filled"](text) == text
