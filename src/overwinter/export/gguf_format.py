"""Export as one GGUF file, as llama.cpp and what is built on it load it."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from overwinter.export.interface import Reading
from overwinter.export.source import Source
from overwinter.export.surroundings import NO_TOKENIZER, refused_payload
from overwinter.models.given import GIVEN_FILE

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel

MODEL = "model.gguf"
_TOLERANCE = 0.01  # nats: scales, minima and floats are rounded to float16


class GgufFormat:
    """llama.cpp's files."""

    def refusal(self, source: Source) -> str | None:
        """Return why the format cannot hold the source."""
        if not source.language:
            return "it is for language models"
        if _holds_file(source):
            return None
        refused = refused_payload(source, "GGUF file")
        if refused is not None:
            return refused
        from overwinter.formats import gguf_refusal

        return gguf_refusal(source.description) or (NO_TOKENIZER if source.tokenizer is None else None)

    def write(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Write model.gguf, with the tokenizer in it."""
        if _holds_file(source):
            shutil.copyfile(source.folder / GIVEN_FILE, folder / MODEL)
            return ("the file is that of the source, byte for byte",)
        from overwinter.formats import write_gguf

        kinds = write_gguf(source.folder, folder / MODEL, tokenizer_folder=source.tokenizer)
        counted = collections.Counter(kinds.values()).most_common()
        return ("tensors: " + ", ".join(f"{count} {kind}" for kind, count in counted),)

    def read(self, source: Source, folder: Path) -> Reading | None:
        """Read the file back as transformers does; None for a copied one."""
        if _holds_file(source):
            return None
        from overwinter.models import pretrained
        from overwinter.runtime.torch_language import TorchLanguageSession

        session = TorchLanguageSession(cast("CausalLanguageModel", pretrained(root=str(folder / MODEL))))
        return Reading(reader="transformers", logits=session.logits, tolerance=_TOLERANCE)


def _holds_file(source: Source) -> bool:
    """Whether the source is a GGUF file with its tokenizer: the one that a model came in."""
    path = source.folder / GIVEN_FILE
    return path.is_file() and _has_words(path)


def _has_words(path: Path) -> bool:
    """Whether a file has a vocabulary; what the runtime llama-cpp builds of our variants has none."""
    import gguf

    field = gguf.GGUFReader(path).get_field("tokenizer.ggml.model")
    return field is not None and field.contents() != "no_vocab"
