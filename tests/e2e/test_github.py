"""The example of a workflow, examples/github/compare.yml: its text, and its steps as far as they go offline."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "examples" / "github" / "compare.yml"
ONLINE = ("Install",)


def steps():
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]["compare"]["steps"]


def test_every_action_is_pinned_by_its_commit_and_says_which_version_that_is():
    used = re.findall(r"uses: (\S+)(.*)", WORKFLOW.read_text())
    assert len(used) == len([step for step in steps() if "uses" in step]) == 2
    for action, comment in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), comment


def test_the_whole_history_is_fetched_and_nothing_may_be_written():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow[True] == {"pull_request": None}  # YAML 1.1 reads `on` as true
    assert steps()[0]["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_the_requirements_are_installed():
    [install] = [step["run"] for step in steps() if step.get("name") in ONLINE]
    assert install.startswith("python -m pip install --requirement requirements.txt")


def committed(space, message):
    space("git", "add", "-A")
    space("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)


@pytest.mark.slow
def test_a_pull_request_that_leaves_out_quantization_is_refused_by_its_size(space, workspace, tmp_path):
    """The base is the finished project, with a remote; the pull request changes one line of configs/."""
    space("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    space("dvc", "push", "--quiet", "--run-cache")
    committed(space, "results")
    space("git", "branch", "-M", "main")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(space.root), str(clone)], check=True)
    config = clone / "configs" / "config.yaml"
    text = config.read_text()
    changed = re.sub(r"^(\s*- quantize: )\w+$", r"\1none", text, flags=re.MULTILINE)
    assert changed != text
    config.write_text(changed)
    request = workspace(clone)
    committed(request, "no quantization")
    summary, variables = tmp_path / "summary.md", tmp_path / "variables"
    variables.touch()
    env = {
        "GITHUB_BASE_REF": "main",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_ENV": str(variables),
        "RUNNER_TEMP": str(tmp_path / "temp"),
    }
    codes = {}
    for step in (step for step in steps() if "run" in step and step["name"] not in ONLINE):
        known = dict(line.split("=", 1) for line in variables.read_text().splitlines())
        done = request(
            "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"], check=False, **env, **known
        )
        codes[step["name"]] = done.returncode
        assert done.returncode == (3 if step["name"] == "Compare" else 0), f"{done.stdout}\n{done.stderr}"
    assert list(codes) == [
        "Fetch earlier results",
        "Measure the pull request",
        "Measure the base on the same machine",
        "Compare",
    ]
    table = summary.read_text()
    assert "❌ `size > +20 %` fails" in table
    assert "- quantize.methods:" in table
    assert re.search(r"^\| energy\\_per\\_response \| \S+ .J \| \S+ .J \|", table, re.MULTILINE)
    assert "not comparable" not in table
    assert os.listdir(tmp_path / "temp") == ["base"]
