from types import SimpleNamespace

import pytest

from overwinter.config.groups import EvaluateConfig, LanguageEvaluateConfig
from overwinter.config.groups.model import check_model
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
    ("changes", "expected"),
    [
        ({"language": False}, "Set evaluate=language"),
        ({"train": None}, "The stage train trains a classifier"),
        ({"train": "train"}, "The stage train trains a classifier"),
        ({"prune": "sparsify", "sparsify": "magnitude"}, "The stage prune fine-tunes a classifier after pruning"),
        ({"evaluate": None}, "The stage evaluate scores a classifier.*Set pipeline=language"),
    ],
)
def test_stages_that_a_language_model_cannot_pass_are_named_before_they_run(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        check_model(config(**changes))
