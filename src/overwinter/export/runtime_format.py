"""Export as what a runtime's `build` writes; of a language model, with what the runtime's own pipeline needs too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from overwinter.export.interface import Reading
from overwinter.export.source import Source
from overwinter.export.surroundings import NO_TOKENIZER, copy_tokenizer, refused_payload
from overwinter.export.texts import tokens_of
from overwinter.inputs import Array, Inputs, unnamed
from overwinter.models import signature_of
from overwinter.runtime import build, refusal
from overwinter.signature import TensorSpec

_SAMPLES, _SIDE, _SEED = 8, 16, 0
_TOLERANCE = 0.05  # nats, as of the runtimes: their products round activations to 8 bits


class RuntimeFormat:
    """The files of a runtime.

    Attributes:
        runtime: its name.
        pipeline: the package that loads the files of a language model.
        read_by: what computes the logits with which they are compared.
    """

    runtime: str
    pipeline: str
    read_by: str

    def refusal(self, source: Source) -> str | None:
        """Return why the runtime cannot run the source."""
        refused = None
        if source.runtime != self.runtime:
            refused = refused_payload(source, f"files of {self.pipeline if source.language else self.runtime}")
            refused = refused or refusal(source.folder, self.runtime)
        return refused or (NO_TOKENIZER if source.language and source.tokenizer is None else None)

    def write(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Copy the files of a bundle for the runtime; else build them, which compares outputs with torch's."""
        if source.runtime is not None:
            shutil.copytree(source.folder, folder, dirs_exist_ok=True)
            note = "the files are those of the bundle, byte for byte"
        else:
            examples = tokens_of(source) if source.language else _examples(source)
            build(source.folder, self.runtime, folder, examples=examples, trusted=source.trusted)
            note = "the outputs were compared with torch's when it was built"
        if not source.language:
            return (note,)
        copy_tokenizer(source, folder)
        self.complete(source, folder)
        return (f"{self.pipeline} loads the folder",)

    def complete(self, source: Source, folder: Path) -> None:
        """Write what the runtime's own pipeline needs beside a language model's files and the tokenizer's."""
        raise NotImplementedError

    def read(self, source: Source, folder: Path) -> Reading | None:
        """Read a language model back; None for others, whose outputs `write` has compared."""
        if not source.language:
            return None
        return Reading(reader=self.read_by, logits=self.reader(folder), tolerance=_TOLERANCE)

    def reader(self, folder: Path) -> Callable[[Array], Array]:
        """Return what returns logits from the files, as of `Reading`."""
        raise NotImplementedError


def _examples(source: Source) -> Inputs:
    """Return recorded samples, or made-up ones of the shapes that the model takes."""
    if source.samples is not None:
        return source.samples
    random = np.random.default_rng(_SEED)
    made: Inputs = unnamed({spec.name: _made_up(spec, random) for spec in signature_of(source.description).inputs})
    return made


def _made_up(spec: TensorSpec, random: np.random.Generator) -> Array:
    shape = (_SAMPLES, *(_SIDE if side is None else side for side in spec.shape[1:]))
    if spec.dtype == "float32":
        return random.standard_normal(shape).astype(np.float32)
    return random.integers(0, 2, shape).astype(spec.dtype)  # tokens, flags and masks that every model has
