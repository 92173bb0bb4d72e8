"""Checks of the group `model/`, of pretrained language models: that the stages suit one, and that it is there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config.groups import Config, LanguageEvaluateConfig
from overwinter.errors import ConfigError
from overwinter.places import local_path

PRETRAINED_TARGETS = ("overwinter.models.pretrained", "overwinter.models.huggingface.pretrained")
GGUF = ".gguf"
_KEY = "model.root"
_REMOTE = re.compile(r"(\w+://|hf:).+|[\w.-]+/[\w.-]+")  # an address, or OWNER/NAME on a hub
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


def check_model_files(config_model: Mapping[str, Any]) -> None:
    """Check that a pretrained model is on this machine, and that what reads it is installed.

    Raises:
        ConfigError: it is not, or ``model.root`` names something on a hub.
    """
    if config_model.get("_target_") in PRETRAINED_TARGETS:
        model_path(config_model.get("root"))
        needed = ["transformers", *(["gguf"] if str(config_model["root"]).endswith(GGUF) else [])]
        for name in needed:
            if importlib.util.find_spec(name) is None:
                raise ConfigError(
                    f"Language models need the package {name}, which is not installed.\n`pip install 'overwinter[llm]'`"
                )


def model_path(root: Any) -> Path:
    """Return where a pretrained model is: a GGUF file, or a folder with config.json and safetensors.

    Raises:
        ConfigError: it is not there, or is something else.
    """
    if not isinstance(root, str) or not root:
        raise ConfigError(f"{_KEY}={root!r} must name a folder or a {GGUF} file.")
    if _REMOTE.fullmatch(root) and not Path(root).exists():
        raise ConfigError(
            f"{_KEY}={root!r} is not on this machine, and nothing is downloaded. Get it yourself "
            f"(`hf download OWNER/NAME --local-dir FOLDER`), then set {_KEY}=FOLDER."
        )
    path = local_path(root, key=_KEY)
    if path.is_file() and path.suffix != GGUF:
        raise ConfigError(f"{_KEY}={root!r} is neither a folder nor a {GGUF} file.")
    if path.is_dir() and not (path / "config.json").is_file():
        raise ConfigError(f"{_KEY}={root!r} has no config.json. Name the folder that holds it and the weights.")
    if path.is_dir() and not list(path.glob("*.safetensors")):
        raise ConfigError(f"{_KEY}={root!r} has no *.safetensors. Weights in pickle are not read: convert them first.")
    return path
