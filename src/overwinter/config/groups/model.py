"""The groups `model/` and `data/`, which are open: `_target_` names a class, the other keys are its arguments.

Whether the files that they name are on this machine is asked above (`overwinter.data.local_files.check_data`), by what
is about to run: a configuration can be composed on another machine than it runs on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.config.groups.evaluation import LanguageEvaluateConfig
from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config

# Our own programs whose losses and measures are those of a classifier, and what a language model has instead.
_OF_CLASSIFIERS = {
    "train": "trains a classifier; the program pretrained takes the model as it is",
    "sparsify": "fine-tunes a classifier after pruning, and there is no such loss for next tokens yet",
    "evaluate": "scores a classifier; the program evaluate_language scores text",
}


def check_model(config: Config) -> None:
    """Check that the stages suit the kind of model.

    Raises:
        ConfigError: a stage would fail, after earlier ones had spent energy.
    """
    pretrained = config.model.get("_target_") in PRETRAINED_TARGETS
    language = isinstance(config.evaluate, LanguageEvaluateConfig)
    if pretrained and not language:
        raise ConfigError(
            "model._target_ is a language model, which evaluate has no settings for. Set evaluate=language."
        )
    if not pretrained:
        _refuse_other_program(config, language)
        return
    for stage, spec in config.pipeline.stages.items():
        program = spec.program or stage
        if program in _OF_CLASSIFIERS and not (program == "sparsify" and config.sparsify.method == "none"):
            raise ConfigError(
                f"The stage {stage} {_OF_CLASSIFIERS[program]}, and model._target_ is a language model. "
                "Set pipeline=language, or your own pipeline of such stages."
            )


def _refuse_other_program(config: Config, language: bool) -> None:
    """Refuse settings for text where a classifier is scored, and the other way round."""
    programs = [spec.program or stage for stage, spec in config.pipeline.stages.items()]
    if language and "evaluate" in programs:
        raise ConfigError(
            "evaluate=language is for text, and the program evaluate scores a classifier. Set evaluate=default; or, "
            "for a language model, pipeline=language model=huggingface data=text."
        )
    if not language and "evaluate_language" in programs:
        raise ConfigError(
            "The program evaluate_language scores text, and evaluate has the settings of a classifier. "
            "Set evaluate=language model=huggingface data=text; or, for a classifier, pipeline=default."
        )
