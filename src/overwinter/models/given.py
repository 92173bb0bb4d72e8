"""Variants of the file that a model came in: a GGUF file as it is.

- ``input_file`` is the file as other programs read it.
- ``as_given`` is its own integers with their float scales and minima (`gguf_integers.read_integers`), exactly.

Each is a folder with the file and ``model.json``. Neither is a torch module: torch would compute what dense computes.
What is made of a model has to beat them, as it has to beat dense. Importing this loads no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.models.description import write_description
from overwinter.models.gguf_file import gguf_tensors
from overwinter.signature import Signature

AS_GIVEN, INPUT_FILE = "as_given", "input_file"
GIVEN = (INPUT_FILE, AS_GIVEN)  # the simpler first
GIVEN_FILE = "model.gguf"


def save_given(
    folder: Path,
    gguf_path: Path,
    *,
    variant: str,
    model_config: Mapping[str, Any],
    signature: Signature,
    lineage: Mapping[str, Any],
) -> dict[str, Any]:
    """Save a copy of a GGUF file as a variant, and return its description.

    Args:
        folder: folder of the variant, created if needed.
        gguf_path: the file.
        variant: `AS_GIVEN` or `INPUT_FILE`.
        model_config: ``saved_as()`` of the `CausalLanguageModel` that was read from the file.
        signature: its inputs and outputs.
        lineage: digests of the inputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with files.replacing(folder / GIVEN_FILE) as staging:
        shutil.copyfile(gguf_path, staging)
    return write_description(
        folder,
        variant=variant,
        model_config=model_config,
        signature=signature,
        parameters=sum(int(tensor.n_elements) for tensor in gguf_tensors(gguf_path)),
        sparsity=0.0,
        tensors={},
        files=[GIVEN_FILE],
        lineage=lineage,
        quantization={"method": variant, "formats": model_config.get("origin")},
    )


def is_given(description: Mapping[str, Any]) -> bool:
    """Return whether ``model.json`` is of a file as it was given."""
    return (description["quantization"] or {}).get("method") in GIVEN
