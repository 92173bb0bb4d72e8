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
# Stage programs that do not work for a language model, and why.
_NOT_FOR_LANGUAGE = {
    "train": "trains from scratch; the program pretrained takes the model as it is",
    "sparsify": "fine-tunes after pruning; fine-tuning on next tokens is not supported yet",
}


def check_model(config: Config) -> None:
    """Check that every stage supports the kind of model, and that model and task belong together.

    Raises:
        ConfigError: a stage would fail, after earlier stages had already used energy.
    """
    if config.model.get("_target_") not in PRETRAINED_TARGETS:
        return
    if config.task.name != _LANGUAGE:
        raise ConfigError(
            f"model._target_ is a language model, and task={config.task.name}. Set task={_LANGUAGE}, and "
            "evaluate=language to time generated text."
        )
    for stage, spec in config.pipeline.stages.items():
        program = spec.program or stage
        if program in _NOT_FOR_LANGUAGE and not (program == "sparsify" and config.sparsify.method == "none"):
            raise ConfigError(
                f"The stage {stage} {_NOT_FOR_LANGUAGE[program]}, and model._target_ is a language model. "
                "Set pipeline=language, or a pipeline of your own for language models."
            )
