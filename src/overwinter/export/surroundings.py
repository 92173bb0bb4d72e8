"""What stands beside a language model's weights in other programs' folders: the tokenizer and its settings."""

from __future__ import annotations

import shutil
from pathlib import Path

from overwinter.export.source import Source
from overwinter.models.given import GIVEN

_SUFFIXES = (".json", ".jinja", ".txt", ".model")
NO_TOKENIZER = (
    "it needs the model's tokenizer, and none was found beside it. Name its folder: --tokenizer outputs/train/tokenizer"
)


def copy_tokenizer(source: Source, folder: Path) -> None:
    """Copy the tokenizer's files, its chat template and the generation settings; none if there is no tokenizer."""
    for path in sorted([] if source.tokenizer is None else source.tokenizer.iterdir()):
        if path.suffix in _SUFFIXES and path.is_file():
            shutil.copyfile(path, folder / path.name)


def refused_payload(source: Source, format_name: str) -> str | None:
    """Return why a format that is written from weights cannot be from a bundle without them."""
    if source.runtime is None:
        return None
    place = "train/given" if source.variant in GIVEN else "quantize/model"
    return (
        f"its bundle holds what {source.runtime} runs and no weights, so no {format_name} can be written from it. Name "
        f"the saved model instead, such as outputs/{place}/{source.variant}"
    )
