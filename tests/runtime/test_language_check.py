"""What a runtime would get wrong about a language model, each seen by the check at build time."""

import numpy as np
import pytest

from overwinter.errors import OverwinterError
from overwinter.runtime.language_check import check_language, divergence
from overwinter.runtime.torch_language import TorchLanguageSession
from tests.support.networks import language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

WINDOWS = np.random.default_rng(0).integers(32, size=(2, 24))


def check(session):
    reference = TorchLanguageSession(language_model())
    check_language(session, reference, WINDOWS, tolerance=1e-6, who="They differ", remedy="Leave it.")


def test_equal_models_pass():
    check(TorchLanguageSession(language_model()))


def test_another_model_is_found():
    with pytest.raises(OverwinterError, match=r"They differ by .* nats on 24 tokens at once; .* Leave it\."):
        check(TorchLanguageSession(language_model(seed=1)))


class Forgetful(TorchLanguageSession):
    """Predicts well at once, and forgets what it has read."""

    def step(self, tokens, kept=None):
        return super().step(tokens)


class Stuck(TorchLanguageSession):
    """Has a cache that does not go back."""

    def step(self, tokens, kept=None):
        logits, kept = super().step(tokens, kept)
        kept.crop = lambda count: None
        return logits, kept


class Broken(TorchLanguageSession):
    """Computes no numbers."""

    def logits(self, tokens):
        return super().logits(tokens) * np.nan


@pytest.mark.parametrize("kind", [Forgetful, Stuck])
def test_a_wrong_cache_is_found(kind):
    with pytest.raises(OverwinterError, match="nats token by token"):
        check(kind(language_model()))


def test_what_is_no_number_is_found():
    with pytest.raises(OverwinterError, match="nan nats"):
        check(Broken(language_model()))


def test_divergence_is_in_nats():
    found, expected = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    assert divergence(found, expected) == pytest.approx(0.9 * np.log(1.8) + 0.1 * np.log(0.2))
    assert divergence(expected, expected) == 0
