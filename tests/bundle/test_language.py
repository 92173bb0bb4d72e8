import json

import numpy as np
import pytest
import torch

from overwinter.bundle import BundleFacts, hibernate, wake
from overwinter.errors import ConfigError, IntegrityError
from overwinter.runtime.torch_language import TorchLanguageSession
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.networks import language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = np.array([[3, 5, 8, 13], [21, 2, 3, 4]])


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """Return a language model's payload, and extras with a tokenizer."""
    folder = tmp_path_factory.mktemp("language")
    model = language_model()
    save_language_model(folder / "saved", model)
    build(folder / "saved", "torch", folder / "payload", trusted=[])
    (folder / "extras" / "tokenizer").mkdir(parents=True)
    (folder / "extras" / "tokenizer" / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    return model, folder


@pytest.fixture
def put_to_sleep(language, tmp_path):
    def put_to_sleep(**changes):
        facts = {
            "variant": "dense",
            "runtime": "torch",
            "signature": Signature.of_one([None], dtype="int64"),
            "task": {"name": "language_modeling"},
            "labels": (),
            "preprocessing": {"formula": "tokens of the bundle's tokenizer"},
            "production_energy_j": None,
            "lineage": {},
        }
        facts |= {key: changes.pop(key) for key in list(changes) if key in facts}
        arguments = {"payload": language[1] / "payload", "extras": language[1] / "extras", "canary_inputs": TOKENS}
        return hibernate(tmp_path / "bundle", facts=BundleFacts(**facts), canary_tolerance=1e-3, **arguments | changes)

    return put_to_sleep


def test_it_wakes_with_its_tokenizer_and_says_the_next_token(put_to_sleep, language):
    bundle = put_to_sleep()
    assert bundle.tokenizer == bundle.folder / "extras" / "tokenizer"
    assert bundle.canary.outputs.shape == (2, 32)
    woken = wake(bundle.folder)
    with torch.inference_mode():
        expected = language[0](torch.from_numpy(TOKENS))[:, -1].numpy()
    np.testing.assert_allclose(woken.run(TOKENS), expected, rtol=1e-5, atol=1e-6)


def test_tokens_can_be_read_one_after_the_other(put_to_sleep):
    session = wake(put_to_sleep().folder).session
    logits, kept = session.step(TOKENS[:, :2])
    for place in (2, 3):
        logits, kept = session.step(TOKENS[:, place : place + 1], kept)
    np.testing.assert_allclose(logits, session.run(TOKENS), rtol=1e-4, atol=1e-5)


def test_another_response_of_the_canary_is_refused(put_to_sleep, monkeypatch):
    bundle = put_to_sleep()
    real = TorchLanguageSession.run
    monkeypatch.setattr(TorchLanguageSession, "run", lambda self, inputs: real(self, inputs) + 1.0)
    with pytest.raises(IntegrityError, match="other outputs"):
        wake(bundle.folder)


def test_a_runtime_without_language_models_does_not_run_it(put_to_sleep):
    with pytest.raises(ConfigError, match="runtime 'torch-compile' cannot serve the language model"):
        put_to_sleep(runtime="torch-compile")


def test_a_tokenizer_does_not_make_a_classifier_speak(put_to_sleep, payloads):
    with pytest.raises(ConfigError, match="holds a ConvNet, which does not generate"):
        put_to_sleep(payload=payloads["torch"])


def test_a_model_without_a_tokenizer_is_none(hibernate):
    assert hibernate().tokenizer is None
