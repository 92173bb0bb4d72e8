"""The snippets and commands of docs/watch.md and docs/disclose.md, and the README's, run as they stand there."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import overwinter
from overwinter.ledger import Ledger, ledger_path

ROOT = Path(__file__).parents[2]
WATCH, DISCLOSE = ((ROOT / "docs" / name).read_text() for name in ("watch.md", "disclose.md"))
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", WATCH + README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for text in (WATCH, DISCLOSE)
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def run(*words: str) -> str:
    """Run a program and return what it prints; it finds the command `overwinter` of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.strip().splitlines()[0][:20])
def test_every_snippet_runs(folder: Path, executions, hibernate, snippet: str):
    if snippet.startswith("# trainer"):
        pytest.importorskip("accelerate", reason="Hugging Face's Trainer needs accelerate")
    if snippet.startswith("# lightning"):
        pytest.importorskip("lightning", reason="lightning is not installed")
    if snippet.startswith("# tracking"):
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    if snippet.startswith("# bundle"):
        shutil.copytree(hibernate().folder, folder / "outputs/hibernate/bundle")
    (folder / "script.py").write_text(snippet)
    said = run(sys.executable, "script.py")
    assert said or "print(" not in snippet
    if "open_meter" in snippet or "load(" in snippet:
        return
    statuses = [entry.status for entry in executions()]
    assert statuses == (["refused", "done"] if "RefusedError" in snippet else ["done"])
    assert executions()[0].project in ("resnet", folder.name)


def test_every_command_runs_after_the_first_snippet(folder: Path):
    (folder / "script.py").write_text(SNIPPETS[0])
    run(sys.executable, "script.py")
    for command in COMMANDS:
        assert run("bash", "-c", command), command
    with Ledger.open(ledger_path(folder)) as ledger:
        assert ledger.executions()[0].project == "resnet"


def test_the_table_names_every_argument():
    table = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", WATCH, re.MULTILINE))))
    named = inspect.signature(overwinter.watch).parameters.values()
    assert table == {each.name for each in named if each.kind is inspect.Parameter.KEYWORD_ONLY}


def test_the_table_s_example_of_overrides_is_accepted_as_it_stands(folder: Path):
    from overwinter.watching.settings import supervision_for_script

    (example,) = re.findall(r"^\| `overrides` \| .*?`(\[.*?\])`", WATCH, re.MULTILINE)
    groups = supervision_for_script(overrides=json.loads(example))
    assert (groups.power.limit, groups.carbon.country) == ("150 W", "DEU")


def test_a_trainer_script_is_metered_with_at_most_three_edited_lines():
    for snippet in SNIPPETS:
        if snippet.startswith(("# trainer", "# lightning")):
            edited = [line for line in snippet.splitlines() if "verwinter" in line]
            assert len(edited) <= 3
            assert [line[-1] for line in edited] == [str(number + 1) for number in range(len(edited))]
