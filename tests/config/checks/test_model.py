from types import SimpleNamespace

import pytest

from overwinter.config.checks.model import check_model, check_model_files, model_path
from overwinter.config.groups import EvaluateConfig, LanguageEvaluateConfig
from overwinter.config.groups.pipeline import StageSpec
from overwinter.errors import ConfigError

PRETRAINED = {"_target_": "overwinter.models.pretrained", "root": "/nowhere"}


def config(*, language=True, sparsify="none", target=PRETRAINED, **programs):
    evaluate = LanguageEvaluateConfig() if language else EvaluateConfig()
    stages = {stage: StageSpec(needs=[], params=[], program=program) for stage, program in programs.items()}
    return SimpleNamespace(
        model=target,
        evaluate=evaluate,
        sparsify=SimpleNamespace(method=sparsify),
        pipeline=SimpleNamespace(stages=stages),
    )


def test_a_language_pipeline_passes_and_classifiers_are_not_asked():
    check_model(config(train="pretrained", quantize=None, sparsify_none=None, evaluate="evaluate_language"))
    check_model(config(sparsify="none", train="pretrained"))
    check_model(config(language=False, target={"_target_": "my.Net"}, train=None, evaluate=None))


def test_settings_for_text_are_refused_where_a_classifier_is_scored_and_the_other_way_round():
    with pytest.raises(ConfigError, match=r"evaluate=language is for text.*Set evaluate=default"):
        check_model(config(target={"_target_": "my.Net"}, train=None, evaluate=None))
    with pytest.raises(ConfigError, match=r"evaluate_language scores text.*Set evaluate=language"):
        check_model(config(language=False, target={"_target_": "my.Net"}, evaluate="evaluate_language"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"language": False}, "Set evaluate=language"),
        ({"train": None}, "The stage train trains a classifier"),
        ({"train": "train"}, "The stage train trains a classifier"),
        ({"prune": "sparsify", "sparsify": "magnitude"}, "The stage prune fine-tunes a classifier after pruning"),
        ({"evaluate": None}, "The stage evaluate scores a classifier.*Set pipeline=language"),
    ],
)
def test_stages_that_a_language_model_cannot_pass_are_named_before_they_run(changes, said):
    with pytest.raises(ConfigError, match=said):
        check_model(config(**changes))


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (None, "model.root=None must name a folder or a .gguf file"),
        ("HuggingFaceTB/SmolLM2-135M", "is not on this machine, and nothing is downloaded.*hf download"),
        ("hf://owner/name", "nothing is downloaded"),
        ("https://example.org/model.gguf", "nothing is downloaded"),
        ("/nowhere/at/all", "does not exist"),
        ("package:no_such_package/model.gguf", "'no_such_package' is not installed"),
    ],
)
def test_what_is_not_on_this_machine_is_refused(root, said):
    with pytest.raises(ConfigError, match=said):
        model_path(root)


def test_what_is_no_model_is_refused_step_by_step(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"neither a folder nor a \.gguf file"):
        model_path(str(tmp_path / "model.bin"))
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        model_path(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="pickle"):
        model_path(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert model_path(str(tmp_path)) == tmp_path


def test_a_missing_package_is_named_before_anything_runs(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"x")
    settings = PRETRAINED | {"root": str(tmp_path / "model.gguf")}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else object())
    with pytest.raises(ConfigError, match=r"need the package gguf.*\n.*overwinter\[llm\]"):
        check_model_files(settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_model_files(settings)
    check_model_files({"_target_": "my.Net"})
