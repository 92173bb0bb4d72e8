"""What a runtime would get wrong about a language model, each seen by the check at build time."""

import numpy as np
import pytest
import torch

from overwinter.errors import OverwinterError
from overwinter.runtime.language_check import check_language, divergence, variety
from overwinter.runtime.torch_language import TorchLanguageSession
from tests.support.networks import language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

WINDOWS = np.random.default_rng(0).integers(32, size=(2, 24))


def check(session, tolerance=1e-6):
    reference = TorchLanguageSession(language_model())
    check_language(session, reference, WINDOWS, tolerance=tolerance, who="They differ", remedy="Leave it.")


def test_equal_models_pass():
    check(TorchLanguageSession(language_model()))


def test_another_model_is_found():
    with pytest.raises(OverwinterError, match=r"They differ by .* nats on 24 tokens at once; .* Leave it\."):
        check(TorchLanguageSession(language_model(seed=1)))


def test_an_untrained_model_without_attention_is_found_though_its_predictions_are_near():
    model = language_model()
    for block in model.network.model.layers:
        torch.nn.init.zeros_(block.self_attn.o_proj.weight)
    near = TorchLanguageSession(model)
    apart = divergence(near.logits(WINDOWS), TorchLanguageSession(language_model()).logits(WINDOWS))
    with pytest.raises(OverwinterError, match="They differ"):
        check(near, tolerance=2 * apart)


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


def test_variety_is_in_nats():
    one_of_two = np.log([[[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]]])
    assert variety(one_of_two) == pytest.approx(np.log(2), rel=1e-6)
    assert variety(np.zeros((1, 3, 8))) == 1e-3


def test_divergence_is_in_nats():
    found, expected = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    assert divergence(found, expected) == pytest.approx(0.9 * np.log(1.8) + 0.1 * np.log(0.2))
    assert divergence(expected, expected) == 0
