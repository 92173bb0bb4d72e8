from types import SimpleNamespace

import pytest

from overwinter.config.groups.model import check_model
from overwinter.config.groups.pipeline import StageSpec
from overwinter.errors import ConfigError

PRETRAINED = {"_target_": "overwinter.models.pretrained", "root": "/nowhere"}


def config(*, task="language_modeling", sparsify="none", target=PRETRAINED, **programs):
    stages = {stage: StageSpec(needs=[], params=[], program=program) for stage, program in programs.items()}
    return SimpleNamespace(
        model=target,
        task=SimpleNamespace(name=task),
        sparsify=SimpleNamespace(method=sparsify),
        pipeline=SimpleNamespace(stages=stages),
    )


def test_a_language_pipeline_passes_and_other_models_are_not_asked():
    check_model(config(train="pretrained", quantize=None, sparsify_none=None, evaluate=None))
    check_model(config(sparsify="none", train="pretrained"))
    check_model(config(task="regression", target={"_target_": "my.Net"}, train=None, evaluate=None))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "classification"}, "task=classification. Set task=language_modeling"),
        ({"train": None}, "The stage train trains from scratch"),
        ({"train": "train"}, "The stage train trains from scratch"),
        ({"prune": "sparsify", "sparsify": "magnitude"}, "The stage prune fine-tunes after pruning"),
    ],
)
def test_stages_that_a_language_model_cannot_pass_are_named_before_they_run(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        check_model(config(**changes))
