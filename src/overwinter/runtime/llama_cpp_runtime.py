"""The runtime `llama-cpp`: language models as GGUF files, in llama.cpp on the CPU.

It runs the file that a model came in as it is, and our own variants as `overwinter.formats.write_gguf` writes them.
Opening a session needs no torch.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError
from overwinter.inputs import Inputs, named
from overwinter.models import load_description
from overwinter.models.given import AS_GIVEN, GIVEN_FILE, INPUT_FILE
from overwinter.runtime.llama_cpp_session import LlamaCppSession

if TYPE_CHECKING:
    from overwinter.runtime.language_session import LanguageSession
    from overwinter.runtime.session import Session

MODEL = "model.gguf"
TOLERANCE = 0.05  # nats: llama.cpp rounds inputs of quantized layers to 8 bits, in groups of 32 or 256
_LANGUAGE_ONLY = "it runs language models only"


class LlamaCppRuntime:
    """llama.cpp, on the CPU only."""

    name = "llama-cpp"
    packages = ("llama-cpp-python",)
    installed_from_source = True
    packages_for_gpu = False

    @property
    def language(self) -> LlamaCppLanguage:
        """Runs language models."""
        return LlamaCppLanguage()

    def refusal(self, description: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return that it runs no other models."""
        return _LANGUAGE_ONLY

    def build(self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str]) -> None:  # noqa: ARG002
        """Raise `ConfigError`."""
        raise ConfigError(f"The runtime 'llama-cpp' cannot run {model_folder}: {_LANGUAGE_ONLY}.")

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:  # noqa: ARG002
        """Raise `ConfigError`."""
        raise ConfigError(f"The runtime 'llama-cpp' cannot open {folder}: {_LANGUAGE_ONLY}.")


class LlamaCppLanguage:
    """The `LanguageRuntime` of llama.cpp."""

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why llama.cpp cannot run this variant here."""
        if importlib.util.find_spec("llama_cpp") is None:
            return (
                "llama-cpp-python is not installed. `pip install 'overwinter[llama-cpp]'` compiles it for this CPU, "
                "which takes some minutes"
            )
        method = (description["quantization"] or {}).get("method")
        if method == AS_GIVEN:
            return f"its integers are those of the file itself, which runs here as the variant {INPUT_FILE!r}"
        if method == INPUT_FILE:
            return None
        from overwinter.formats import gguf_refusal

        return gguf_refusal(description)

    def build(
        self,
        model_folder: Path,
        out: Path,
        *,
        examples: Inputs,
        trusted: Sequence[str],
        device: str = "cpu",  # noqa: ARG002
    ) -> None:
        """Write ``model.gguf``, and check its predictions against torch's."""
        from overwinter.runtime.language_check import check_language
        from overwinter.runtime.torch_language import TorchLanguageSession, as_module

        method = (load_description(model_folder)["quantization"] or {}).get("method")
        if method == INPUT_FILE:
            shutil.copyfile(model_folder / GIVEN_FILE, out / MODEL)
        else:
            from overwinter.formats import write_gguf

            write_gguf(model_folder, out / MODEL)
        (windows,) = named(examples).values()
        check_language(
            self.open(out, threads=1, trusted=trusted),
            TorchLanguageSession(as_module(model_folder, trusted=trusted)),
            windows,
            tolerance=TOLERANCE,
            who="llama.cpp's predictions differ from torch's",
            remedy="Remove llama-cpp from evaluate.runtimes.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = "cpu") -> LanguageSession:  # noqa: ARG002
        """Load ``model.gguf``, which is mapped."""
        return LlamaCppSession(folder / MODEL, threads=threads)
