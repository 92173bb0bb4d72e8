"""Every command of the README's `sh` blocks, in order, as a reader would type them."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXITS = re.compile(r"\s+# exits with (\d+)$")
SHORT = """
train: {epochs: 2}
sparsify: {fit: {epochs: 1}}
evaluate: {repeats: 3, sample_duration_s: 0.005, max_quality_loss: 0.99}
hibernate: {wake_repeats: 1}
"""


def commands(text: str) -> list[tuple[str, int]]:
    """The commands and the exit codes they announce."""
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    found = [(line, EXITS.search(line)) for line in lines if line.strip()]
    return [(EXITS.sub("", line), int(announced[1]) if announced else 0) for line, announced in found]


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(fresh):
    config = fresh.root / "configs" / "config.yaml"
    config.write_text(config.read_text() + SHORT)
    fresh("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "short")
    for command, exit_code in commands((ROOT / "README.md").read_text()):
        done = fresh("bash", "-c", command, check=False)
        assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_quotes_only_what_is_on_file():
    readme = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))
    text = (ROOT / "README.md").read_text()
    assert readme["filled"](text) == text
