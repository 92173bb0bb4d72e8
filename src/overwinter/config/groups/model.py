"""The groups `model/` and `data/`, which are open: `_target_` names a class, the other keys are its arguments.

A configuration can be composed on another machine than it runs on, so the files it names are checked only before a
run (`overwinter.data.local_files.check_data`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.config.groups.evaluation import LanguageEvaluateConfig
from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config

# Stage programs that only work for classifiers, and why.
_CLASSIFIER_PROGRAMS = {
    "train": "trains a classifier; the program pretrained takes the model as it is",
    "sparsify": "fine-tunes a classifier after pruning; fine-tuning on next tokens is not supported yet",
    "evaluate": "scores a classifier; the program evaluate_language scores text",
}


def check_model(config: Config) -> None:
    """Check that every stage supports the kind of model.

    Raises:
        ConfigError: a stage would fail, after earlier stages had already used energy.
    """
    pretrained = config.model.get("_target_") in PRETRAINED_TARGETS
    language = isinstance(config.evaluate, LanguageEvaluateConfig)
    if pretrained and not language:
        raise ConfigError(
            "model._target_ is a language model, and evaluate has the settings for classifiers. Set evaluate=language."
        )
    if not pretrained:
        _refuse_other_program(config, language)
        return
    for stage, spec in config.pipeline.stages.items():
        program = spec.program or stage
        if program in _CLASSIFIER_PROGRAMS and not (program == "sparsify" and config.sparsify.method == "none"):
            raise ConfigError(
                f"The stage {stage} {_CLASSIFIER_PROGRAMS[program]}, and model._target_ is a language model. "
                "Set pipeline=language, or a pipeline of your own for language models."
            )


def _refuse_other_program(config: Config, language: bool) -> None:
    """Refuse settings for text in a pipeline that scores a classifier, and the reverse."""
    programs = [spec.program or stage for stage, spec in config.pipeline.stages.items()]
    if language and "evaluate" in programs:
        raise ConfigError(
            "evaluate=language is for text, but the program evaluate scores a classifier. Set evaluate=default; or, "
            "for a language model, pipeline=language model=huggingface data=text."
        )
    if not language and "evaluate_language" in programs:
        raise ConfigError(
            "The program evaluate_language scores text, but evaluate has the settings for classifiers. "
            "Set evaluate=language model=huggingface data=text; or, for a classifier, pipeline=default."
        )
