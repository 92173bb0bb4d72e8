"""Export as a Hugging Face folder with integer weights, as vLLM loads it (compressed-tensors, `pack-quantized`)."""

from __future__ import annotations

from pathlib import Path

from overwinter.export.interface import Reading
from overwinter.export.source import Source
from overwinter.export.surroundings import NO_TOKENIZER, copy_tokenizer, refused_payload

_NAME = "compressed-tensors"
_TOLERANCE = 0.01  # nats: scales and floats are rounded to float16


class CompressedTensorsFormat:
    """vLLM's folders."""

    def refusal(self, source: Source) -> str | None:
        """Return why the format cannot hold the source."""
        refused = refused_payload(source, _NAME)
        if refused is not None:
            return refused
        from overwinter.formats.compressed_tensors import refusal

        return refusal(source.description) or (NO_TOKENIZER if source.tokenizer is None else None)

    def write(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Write config.json, model.safetensors and the tokenizer."""
        from overwinter.formats import write_compressed_tensors

        copy_tokenizer(source, folder)
        return tuple(write_compressed_tensors(source.folder, folder, trusted=source.trusted))

    def read(self, source: Source, folder: Path) -> Reading:  # noqa: ARG002 -- as other formats
        """Read the files back with our own reader."""
        from overwinter.formats import read_compressed_tensors
        from overwinter.runtime.torch_language import TorchLanguageSession

        session = TorchLanguageSession(read_compressed_tensors(folder))
        return Reading(reader="overwinter.formats", logits=session.logits, tolerance=_TOLERANCE)
