import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import hydra_plugins.overwinter.plugin  # noqa: F401 -- puts the guard in front
from overwinter.cli import main
from overwinter.cli.service import load_service
from overwinter.config import compose, configs_digest, find_project, validate
from overwinter.errors import ConfigError

SECRET = "the-secret-value"


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("SECRET_X", SECRET)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh") / "project"
    assert main(["init", str(folder)]) == 0
    return folder


@pytest.fixture
def project(fresh, tmp_path, monkeypatch):
    """A fresh project, in which nothing was run."""
    shutil.copytree(fresh, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return find_project()


def run(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("key", "override"),
    [
        ("hibernate.notes", "hibernate.notes='${oc.env:SECRET_X}'"),
        ("hibernate.notes", "hibernate.notes='Made by ${oc.env:SECRET_X}.'"),
        ("hibernate.notes", "hibernate.notes='${oc.env:SECRET_X,nobody}'"),
        ("hibernate.notes", "hibernate.notes='${oc.env:NOT_SET,nobody}'"),
        ("hibernate.notes", "hibernate.notes='${oc.decode:${oc.env:SECRET_X}}'"),
        ("hibernate.notes", "hibernate.notes='${oc.env:${oc.env:SECRET_X}}'"),
        ("extensions.mine[1]", "+extensions.mine=[1,'${oc.env:SECRET_X}']"),
        ("extensions.mine.deep", "+extensions.mine={deep:'${oc.env:SECRET_X}'}"),
        ("model.classes", "model.classes='${oc.env:SECRET_X}'"),
        ("A choice of options", "data='${oc.env:SECRET_X}'"),
        ("hibernate.notes", r"hibernate.notes='\\${oc.env:SECRET_X}'"),
    ],
)
def test_a_value_from_the_environment_is_refused_with_its_key_and_without_itself(project, key, override):
    with pytest.raises(ConfigError) as caught:
        validate(compose(project, [override]))
    assert str(caught.value).startswith(f"{key} takes its value from the environment variable ")
    assert "nobody" not in str(caught.value).splitlines()[0].replace("for everyone", "")


def test_one_that_would_be_resolved_later_is_refused(project):
    with pytest.raises(ConfigError, match=r"hibernate\.notes takes its value from the environment"):
        compose(project, [r"hibernate.notes='\${oc.env:SECRET_X}'"])
    text = project.params.read_text().replace("notes: null", "notes: ${oc.env:SECRET_X}")
    with pytest.raises(ConfigError, match=r"hibernate\.notes takes its value from the environment"):
        validate(text)


@pytest.mark.parametrize("command", ["compose", "plan", "run"])
def test_the_commands_refuse_it_and_write_nothing(project, command, capsys):
    before = project.params.read_text()
    assert main([command, "hibernate.notes='${oc.env:SECRET_X}'"]) == 2
    output = capsys.readouterr()
    assert "hibernate.notes takes its value from the environment variable SECRET_X" in output.err
    assert SECRET not in output.out + output.err
    assert project.params.read_text() == before


def test_dvc_refuses_it_when_it_composes_by_itself(project):
    before = project.params.read_text()
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, check=True, capture_output=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "all"], check=True, capture_output=True)
    done = run("-m", "dvc", "exp", "run", "-S", "hibernate.notes='${oc.env:SECRET_X}'", "check")
    assert done.returncode != 0
    assert "hibernate.notes takes its value from the environment variable SECRET_X" in done.stderr
    assert project.params.read_text() == before


def test_the_check_finds_it_in_configs_anyone_who_composed_params_yaml(project):
    file = project.configs / "hibernate" / "default.yaml"
    text = file.read_text()
    file.write_text(text.replace("notes: null", f"notes: {SECRET}"))
    assert main(["compose"]) == 0
    digest = OmegaConf.load(project.params).configs_digest
    file.write_text(text.replace("notes: null", "notes: ${oc.env:SECRET_X}"))
    project.params.write_text(project.params.read_text().replace(digest, configs_digest(project.configs)))
    done = run("stages/check.py")
    assert done.returncode == 2
    assert "hibernate.notes takes its value from the environment variable SECRET_X" in done.stderr
    assert not (project.outputs / "check" / "check.json").exists()


def test_what_is_only_read_may_come_from_the_environment(project, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_X", str(tmp_path))
    override = "serve.state='${oc.env:SECRET_X}'"
    assert load_service([override]).serve.state == str(tmp_path)
    with pytest.raises(ConfigError, match=r"serve\.state takes its value from the environment variable SECRET_X"):
        load_service([override], from_environment=False)


def test_other_programs_configurations_are_as_before():
    config = OmegaConf.create({"a": "${oc.env:SECRET_X}", "b": "${oc.env:NOT_SET,c}", "d": "${oc.env:NOT_SET,null}"})
    OmegaConf.resolve(config)
    assert config == {"a": SECRET, "b": "c", "d": None}


def test_none_of_our_own_configurations_reads_the_environment():
    configs = Path(__file__).parents[2] / "configs"
    assert not [path for path in configs.rglob("*.yaml") if "oc.env" in path.read_text()]
