"""Projects of one's own: from a wheel, with one's own model and data, and a case in a folder of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _installed_from_a_wheel(folder: Path) -> dict[str, str]:
    """Build the wheel and unpack it apart from the checkout; return the environment that uses it."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    leave = shutil.ignore_patterns(".git", ".venv", "outputs", ".overwinter", ".dvc/cache", "*.egg-info", ".mypy_cache")
    shutil.copytree(ROOT, source, ignore=leave)
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    site = folder / "site"
    install = [*pip, "install", "--no-deps", "--target", str(site), *map(str, folder.glob("*.whl"))]
    subprocess.run(install, check=True, capture_output=True)
    path = os.pathsep.join([str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PYTHONPATH": str(site), "PATH": path}


@pytest.mark.slow
def test_a_project_from_a_wheel_runs_at_once(tmp_path, workspace, shortened):
    env = _installed_from_a_wheel(tmp_path / "wheel_build")
    here = workspace(tmp_path, env)
    where = here("python", "-c", "import overwinter; print(overwinter.__file__)").stdout
    assert str(tmp_path) in where
    here("python", "-m", "overwinter.cli", "init", "project", "--case", "fashion")
    project = workspace(tmp_path / "project", env)
    assert (project.root / "pipelines" / "fashion" / ".dvc" / "config").is_file()
    assert not list(project.root.rglob("outputs"))
    shortened(project.root)
    project("python", "-m", "overwinter.cli", "run")
    assert project.json("hibernate/gate.json")["pass"]


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path, workspace):
    (tmp_path / "configs").mkdir()
    done = workspace(tmp_path)("overwinter", "init", ".", check=False)
    assert done.returncode == 2
    assert "configs" in done.stderr
    assert os.listdir(tmp_path) == ["configs"]


@pytest.mark.slow
def test_ones_own_model_and_data_run_through_all_stages(fresh):
    example = ROOT / "examples" / "own_model"
    shutil.copytree(example / "my_package", fresh.root / "my_package")
    shutil.copytree(example / "configs", fresh.root / "configs", dirs_exist_ok=True)
    shutil.copy(example / "spirals.csv", fresh.root)
    own = ("model=mine", "data=mine", "trusted_targets=[my_package]")

    # The check refuses code that dvc.yaml, composed for the default case, does not list.
    fresh("overwinter", "compose", *own)
    (fresh.root / "dvc.yaml").write_text((fresh.root / "dvc.yaml").read_text().replace("    - my_package\n", ""))
    refused = fresh("python", "stages/check.py", check=False)
    assert refused.returncode == 2
    assert "your own code in my_package" in refused.stderr
    assert "overwinter compose" in refused.stderr

    fresh.run(*own)
    assert fresh.json("train/metrics.json")["accuracy"] > 0.4

    # Both the package and the data are dependencies by content.
    plan = ("overwinter", "plan", "--json", *own)
    assert not any(stage["runs"] for stage in json.loads(fresh(*plan).stdout)["stages"])
    net = fresh.root / "my_package" / "net.py"
    source = net.read_text()
    net.write_text(source + "\n# a dropout of 0.1\n")
    assert "my_package is modified" in fresh(*plan).stdout
    net.write_text(source)
    table = fresh.root / "spirals.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    assert "spirals.csv is modified" in fresh(*plan).stdout


def test_without_trust_ones_own_code_is_not_run(fresh):
    done = fresh("overwinter", "run", "model._target_=my_package.Net", check=False)
    assert done.returncode == 2
    assert "trusted_targets=[my_package]" in done.stderr


def test_outside_a_project_every_command_says_so(tmp_path, workspace):
    for words in (("run",), ("plan",), ("compose",)):
        done = workspace(tmp_path)("overwinter", *words, check=False)
        assert done.returncode == 2
        assert "overwinter init" in done.stderr


def test_the_committed_files_are_what_configs_says(workspace):
    """What `overwinter compose` writes, in the root and in every case, held against its source."""
    written = ("params.yaml", "dvc.yaml", ".dvc/plots/power.json", ".dvc/plots/page.html")
    for folder in (ROOT, *sorted(path.parent.parent for path in ROOT.glob("pipelines/*/.dvc/config"))):
        before = [(folder / name).read_bytes() for name in written]
        workspace(folder)("overwinter", "compose")
        assert [(folder / name).read_bytes() for name in written] == before


@pytest.mark.slow
def test_a_stage_of_ones_own_adds_a_candidate_that_is_measured_and_frozen(space):
    """The very files of docs/extending.md."""
    blocks = re.findall(
        r"^```(?:python|yaml)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.MULTILINE | re.DOTALL
    )
    targets = ("stages/distill.py", "configs/distill/default.yaml", "configs/pipeline/mine.yaml")
    for target, content in zip(targets, blocks, strict=True):
        (space.root / target).parent.mkdir(exist_ok=True)
        (space.root / target).write_text(content)
    overrides = ("pipeline=mine", "+distill=default", "extensions.distill.epochs=2")
    states = space.states(space.run(*overrides))
    assert states == {
        **dict.fromkeys(("train", "sparsify", "quantize"), "reused"),
        **dict.fromkeys(("distill", "evaluate", "hibernate"), "run"),
    }
    assert list(states).index("distill") < list(states).index("evaluate")
    candidates = space.json("evaluate/comparison.json")["candidates"]
    assert {"distilled@torch", "distilled@onnxruntime", "sparse@torch"} <= candidates.keys()
    assert candidates["distilled@torch"]["accuracy"] > 0.2
    assert candidates["distilled@torch"]["size_bytes"] < candidates["dense@torch"]["size_bytes"] / 4

    # Whatever was chosen on this machine, the student can be frozen.
    chosen = {"variant": "distilled", "runtime": "onnxruntime", "device": "cpu"}
    (space.root / "outputs/evaluate/chosen.json").write_text(json.dumps(chosen))
    done = space("python", "stages/hibernate.py", "hibernate.wake_repeats=1", *overrides)
    assert "distilled@onnxruntime: bundle of" in done.stdout
