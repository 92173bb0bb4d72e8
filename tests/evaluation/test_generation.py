import numpy as np
import pytest
import torch

from overwinter import evaluation
from overwinter.config.groups import EvaluateConfig
from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError
from overwinter.runtime.torch_language import TorchLanguageSession
from tests.support.decoders import decoder
from tests.support.networks import language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

SETTINGS = EvaluateConfig(
    version=1,
    runtimes=["torch"],
    prompt_tokens=6,
    written_tokens=4,
    repeats=3,
    sample_duration_s=0.001,
    threads=1,
    confidence=0.95,
)


def windows(count=5, length=8):
    stream = torch.randint(0, 32, (count, length + 1), generator=torch.Generator().manual_seed(1))
    return stream[:, :-1], stream[:, 1:]


def ignored(*_):
    """Progress that is not shown."""


def test_a_prompt_is_the_start_of_a_sample_and_no_longer_than_it():
    tokens, following = windows()
    for inputs in (tokens, {"attention_mask": torch.ones(5, 8), "input_ids": tokens}):
        split = Split(InMemory(inputs, following), name="test")
        assert evaluation.draw_prompt(split, 6).tolist() == tokens[:1, :6].tolist()
        with pytest.raises(ConfigError, match=r"evaluate\.prompt_tokens=9 is larger than the window, data.length=8"):
            evaluation.draw_prompt(split, 9)
    pictures = Split(InMemory(torch.zeros(2, 4), torch.zeros(2)), name="test")
    with pytest.raises(ConfigError, match="The inputs input hold no tokens"):
        evaluation.draw_prompt(pictures, 1)


def test_a_task_judges_the_logits_at_every_position():
    model, (tokens, _) = language_model(), windows()
    outputs = evaluation.EveryPosition(TorchLanguageSession(model)).run(tokens.numpy())
    with torch.inference_mode():
        np.testing.assert_array_equal(outputs, model(tokens).numpy())


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral", "jamba"])
def test_decoding_with_kept_keys_writes_what_whole_passes_would(family):
    """Also where a cache cannot go back: the window is passed while the prompt is read, or while tokens are written."""
    from overwinter.evaluation.generation import _Decode, _Prefill

    model, prompt = decoder(family), windows(1, 6)[0]
    session = _Decode(_Prefill(TorchLanguageSession(model)), 4)
    first, again = session.run(prompt.numpy()), session.run(prompt.numpy())
    with torch.inference_mode():
        tokens = prompt
        for _ in range(5):
            tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert first.tolist() == again.tolist() == tokens[:, 7:].tolist()


def test_both_phases_are_timed_apart(make_meter):
    prompt = windows(1, 6)[0]
    figures = evaluation.compare_generation(
        {"dense": TorchLanguageSession(language_model()), "other": TorchLanguageSession(language_model(seed=1))},
        prompt,
        SETTINGS,
        meter=make_meter(),
        seed=0,
        progress=ignored,
    )
    entry = figures["dense"].to_json()
    assert set(figures) == {"dense", "other"}
    assert (entry["prefill"]["tokens"], entry["decode"]["tokens"]) == (6, 4)
    assert entry["prefill"]["tokens_per_s"] > entry["decode"]["tokens_per_s"] > 0
    joules = 6 * entry["prefill"]["energy_per_token_j"] + 4 * entry["decode"]["energy_per_token_j"]
    assert entry["energy_per_response_j"] == pytest.approx(joules)
    assert entry["energy_per_response_low_j"] <= joules <= entry["energy_per_response_high_j"]
