"""The user's own code in dvc.yaml, and in what identifies a result."""

from dataclasses import replace
from pathlib import Path

import pytest

from overwinter.config import Project, compose, validate
from overwinter.errors import ConfigError
from overwinter.pipeline.code import code_digests, code_files, code_parameters
from overwinter.pipeline.composing import refuse_stale
from overwinter.pipeline.render import render_dvc_yaml, rendered_stages

ROOT = Path(__file__).parents[2]
NET = "import torch\n\nclass Net(torch.nn.Module):\n    dropout = 0.1\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "my_nets").mkdir()
    (tmp_path / "my_nets" / "__init__.py").write_text(NET)
    return Project(root=tmp_path, configs=ROOT / "configs", config_name="config")


def configured(*targets, **settings):
    config = validate(compose(Project(root=ROOT, configs=ROOT / "configs", config_name="config")))
    config.trusted_targets = ["my_nets", "my_data"]
    for target in targets:
        key, _, value = target.partition("=")
        getattr(config, key)["_target_"] = value
    for key, value in settings.items():
        setattr(config, key, value)
    return config


def test_every_stage_and_the_check_depend_on_the_code_of_the_model(project):
    config = configured("model=my_nets.Net")
    stages = rendered_stages(config, project)
    assert all("my_nets" in stages[name]["deps"] for name in ["check", *config.pipeline.stages])


def test_code_outside_the_project_is_listed_file_by_file_without_caches(project):
    (project.root / "my_nets" / "__pycache__").mkdir()
    (project.root / "my_nets" / "__pycache__" / "net.pyc").touch()
    inner = replace(project, root=project.root / "pipelines" / "case")
    config = configured("model=my_nets.Net")
    config.pipeline.programs = "../.."  # its folder is searched first, as Python does for a program
    assert code_files(config, inner, "train") == ["../../my_nets/__init__.py"]


def test_code_named_twice_is_listed_once(project):
    config = configured("model=my_nets.Net", "data=my_nets.Data")
    config.pipeline.code = ["my_nets"]
    assert code_files(config, project, "train") == ["my_nets"]


def test_a_result_is_known_by_the_content_of_the_code(project):
    config = configured("model=my_nets.Net")
    before = code_digests(config, project, "train")
    (project.root / "my_nets" / "__init__.py").write_text(NET.replace("0.1", "0.2"))
    assert before != code_digests(config, project, "train")
    assert before.keys() == {"my_nets"}


def test_the_version_of_an_installed_package_is_a_parameter_of_the_stages_that_run_it():
    config = configured("model=wise_nets.Net", packages={"wise_nets": "1.5", "other": "2"})
    assert code_parameters(config, "train") == ["packages.wise_nets"]


def test_the_check_refuses_code_that_dvc_does_not_watch(project):
    config = configured()
    project.dvc_yaml.write_text(render_dvc_yaml(config, project))
    refuse_stale(config, project)
    config.model["_target_"] = "my_nets.Net"
    with pytest.raises(ConfigError, match=r"your own code in my_nets.*\n.*overwinter compose"):
        refuse_stale(config, project)


def test_the_check_refuses_another_version_than_was_composed(project):
    config = configured(packages={"wise_nets": "1.5"})
    with pytest.raises(ConfigError, match=r"'wise_nets': '1.5'.*\n.*overwinter compose"):
        refuse_stale(config, project)
