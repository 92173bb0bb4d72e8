"""The groups `model/` and `data/`, which are open: `_target_` names a class, the other keys are its arguments.

A configuration can be composed on another machine than it runs on, so the files it names are checked only before a
run (`overwinter.data.local_files.check_data`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config

_LANGUAGE = "language_modeling"
# Head of a pretrained model -> the built-in tasks that it can be for.
_TASKS = {
    "causal_lm": (_LANGUAGE,),
    "sequence_classification": ("classification", "multilabel", "regression"),
    "token_classification": ("token_classification",),
    "image_classification": ("classification", "multilabel", "regression"),
    "embedding": ("embeddings",),
}
_DRAWN = ("overwinter.", "torch.nn.")  # their classes have no weights of their own


def check_model(config: Config) -> None:
    """Check that the model can be for the task, and that it has the weights that are to be taken as they are.

    Raises:
        ConfigError: a stage would fail, after earlier stages had already used energy.
    """
    target = str(config.model.get("_target_"))
    if target in PRETRAINED_TARGETS:
        _check_head(config)
    elif target.startswith(_DRAWN):
        _check_drawn(config, target)


def _check_drawn(config: Config, target: str) -> None:
    if config.train.method == "pretrained":
        raise ConfigError(
            f"train.method=pretrained takes the weights as they are, and model._target_={target} starts from random "
            "ones. Set train.method=fit, or model=huggingface."
        )
    if config.train.low_rank() is not None:
        raise ConfigError(
            f"train.lora keeps the weights as they are, and model._target_={target} starts from random ones. Train "
            "without it (train=default), or set model=huggingface."
        )


def _check_head(config: Config) -> None:
    gguf = str(config.model.get("root")).endswith(".gguf")
    head = config.model.get("head") or ("causal_lm" if gguf else None)
    task = str(config.task.name)
    known = {name for names in _TASKS.values() for name in names}
    if head in _TASKS and task in known and task not in _TASKS[head]:
        generating = ", and evaluate=language to time generated text" if head == "causal_lm" else ""
        raise ConfigError(
            f"A model with the head {head} cannot be for task={task}. Set task={_TASKS[head][0]}{generating}; or "
            "model.head and model.classes to put another head on it."
        )
