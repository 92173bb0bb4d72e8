"""Every command of the README's and its pages' `sh` blocks, as a reader types them after the first run."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in ("tutorial", "usage", "budgets", "energy", "power", "hibernation", "your-own")),
)
EXITS, COMMENT = re.compile(r"\s+# exits with (\d+)$"), re.compile(r"\s+# .*$")
BLOCKS = [
    pytest.param(block, id=f"{page}: {block.splitlines()[0]}")
    for page in PAGES
    for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
]


def commands(block: str) -> list[tuple[str, int]]:
    """The commands and the exit codes they announce."""
    found = [(line, EXITS.search(line)) for line in block.splitlines() if line.strip()]
    return [(COMMENT.sub("", line), int(announced[1]) if announced else 0) for line, announced in found]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_every_command_of_the_readme_does_what_it_says(space, block):
    for command, exit_code in commands(block):
        done = space("bash", "-c", command, check=False)
        assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_quotes_only_what_is_on_file(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    readme = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))
    for page in readme["PAGES"]:
        text = page.read_text()
        filled = readme["filled"](text)
        there = set(text.splitlines())
        assert [line for line in filled.splitlines() if line not in there] == []
        same = filled == text  # pytest's comparison of two such pages takes minutes
        assert same


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
