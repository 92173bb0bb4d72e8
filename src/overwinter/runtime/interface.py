"""Interface of runtimes. Third parties add theirs as entry points in the group ``overwinter.runtimes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from overwinter.inputs import Inputs
from overwinter.runtime.session import Session


class Runtime(Protocol):
    """Converts a saved model to its own files, and opens them. Created without arguments.

    A runtime for the CPU only needs neither `device_refusal` nor the arguments ``device``.

    Attributes:
        name: as in `evaluate.runtimes`.
        packages: Optional. The packages that serving needs; by default the one that provides the runtime.
        packages_for_gpu: Optional, default True. Whether those packages include CUDA's libraries.
        installed_from_source: Optional, default False. Whether pip compiles those packages, so that an image needs a
            compiler.
        compiles: Optional, default False. Whether it compiles machine code while it serves.
        converts: Optional, default True. Whether `build` makes other files: if not, `open` loads saved models too.
        language: Optional. A `LanguageRuntime`; a runtime without it runs no language models.
    """

    name: str

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why this runtime cannot run the variant that ``model.json`` describes, or None if it can."""

    def device_refusal(self, device: str) -> str | None:
        """Return why this runtime cannot compute on ``device`` (`cuda`, `cuda:N`) here, or None if it can."""

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = "cpu"
    ) -> None:
        """Write the files for `open` to the existing folder ``out``; equal models give equal bytes on every device.

        The examples (n, ...) are samples of the data; ``signature`` in ``model.json`` says which axes vary.

        Raises:
            ConfigError: the model uses an operation that this runtime lacks.
            OverwinterError: the outputs on ``device`` differ from torch's by more than the runtime's tolerance.
        """

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = "cpu") -> Session:
        """Load the files that `build` wrote; the session's inputs and outputs are on the CPU."""
