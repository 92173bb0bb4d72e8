from types import SimpleNamespace

import pytest

from overwinter.config.groups.model import check_model
from overwinter.errors import ConfigError

FOLDER = {"_target_": "overwinter.models.pretrained", "root": "/nowhere"}


def config(model, task="classification", method="fit", lora=None):
    train = SimpleNamespace(method=method, low_rank=lambda: lora)
    return SimpleNamespace(model=model, task=SimpleNamespace(name=task), train=train)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (FOLDER, "classification"),
        (FOLDER | {"head": "sequence_classification"}, "multilabel"),
        (FOLDER | {"head": "token_classification"}, "token_classification"),
        (FOLDER | {"head": "embedding"}, "a task of one's own"),
        (FOLDER | {"root": "model.gguf"}, "language_modeling"),
        ({"_target_": "my.Net"}, "regression"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "pretrained"])
def test_a_model_that_can_be_for_the_task_passes(model, task, method):
    check_model(config(model, task, method))


@pytest.mark.parametrize(
    ("changes", "task", "expected"),
    [
        ({"root": "model.gguf"}, "classification", "Set task=language_modeling, and evaluate=language"),
        ({"head": "causal_lm"}, "regression", "head causal_lm cannot be for task=regression"),
        ({"head": "embedding"}, "classification", r"Set task=embeddings; or model\.head and model\.classes"),
        ({"head": "sequence_classification"}, "token_classification", "Set task=classification"),
    ],
)
def test_a_head_for_another_task_is_told(changes, task, expected):
    with pytest.raises(ConfigError, match=expected):
        check_model(config(FOLDER | changes, task))


@pytest.mark.parametrize("target", ["overwinter.models.ConvNet", "torch.nn.Linear"])
def test_random_weights_are_not_taken_as_they_are(target):
    check_model(config({"_target_": target}))
    with pytest.raises(ConfigError, match=r"starts from random ones\. Set train\.method=fit"):
        check_model(config({"_target_": target}, method="pretrained"))
    with pytest.raises(ConfigError, match=r"starts from random ones\. Train without it"):
        check_model(config({"_target_": target}, lora={"rank": 2}))
