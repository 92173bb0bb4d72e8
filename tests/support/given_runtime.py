"""A runtime that runs GGUF files as they were given, and nothing else, in the way of llama.cpp: it keeps the file."""

import shutil

import numpy as np
import pytest

from overwinter.models import pretrained
from overwinter.models.description import load_description
from overwinter.models.given import GIVEN_FILE, is_given
from overwinter.registries import RUNTIMES
from overwinter.runtime.torch_language import TorchLanguageSession

NAME = "stand-in"


@pytest.fixture
def given_runtime(monkeypatch):
    """Register the runtime, and return its name."""
    monkeypatch.setitem(RUNTIMES.built_in, NAME, f"{__name__}:GivenRuntime")
    return NAME


class GivenLanguage:
    """Its `LanguageRuntime`."""

    def refusal(self, description):
        return None if is_given(description) else "it runs files as they were given"

    def build(self, model_folder, out, *, examples, trusted, device="cpu"):
        load_description(model_folder)
        shutil.copyfile(model_folder / GIVEN_FILE, out / GIVEN_FILE)

    def open(self, folder, *, threads, trusted, device="cpu"):
        return RememberingSession(TorchLanguageSession(pretrained(root=str(folder / GIVEN_FILE))))


class GivenRuntime:
    name = NAME
    packages = ()
    language = GivenLanguage()

    def refusal(self, description):
        return "it runs language models only"

    def device_refusal(self, device):
        return f"it cannot compute on {device}"


class RememberingSession:
    """Computes everything once: the same text costs next to nothing the second time."""

    def __init__(self, session):
        self._session, self._known = session, {}
        self.context_tokens = session.context_tokens

    def run(self, inputs):
        return self.logits(inputs)[:, -1]

    def logits(self, tokens):
        key = (tokens.shape, tokens.tobytes())
        if key not in self._known:
            self._known[key] = self._session.logits(tokens)
        return self._known[key]

    def step(self, tokens, kept=None):
        read = tokens if kept is None else np.concatenate([kept.read, tokens], axis=1)
        return self.run(read), _Read(read)

    def cache_to_arrays(self, kept):
        return {"read": kept.read}

    def cache_from_arrays(self, arrays):
        return _Read(arrays["read"])


class _Read:
    can_crop = True

    def __init__(self, read):
        self.read = read

    def crop(self, count):
        self.read = self.read[:, : self.read.shape[1] - count]
