import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from overwinter import evaluation
from overwinter.config.groups import LanguageEvaluateConfig
from overwinter.errors import OverwinterError
from overwinter.models import CausalLanguageModel, Grid, IntegerLinear, integer_layers, replace_layer

pytest.importorskip("transformers", reason="the extra llm is not installed")

CONFIG = {
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
SETTINGS = LanguageEvaluateConfig(
    version=1,
    max_perplexity_increase=0.02,
    prompt_tokens=6,
    answer_tokens=4,
    repeats=3,
    sample_duration_s=0.001,
    threads=1,
    confidence=0.95,
)


def made(seed=0):
    torch.manual_seed(seed)
    return CausalLanguageModel(config=CONFIG).eval()


def windows(count=5, length=8):
    stream = torch.randint(0, 32, (count, length + 1), generator=torch.Generator().manual_seed(1))
    return stream[:, :-1], stream[:, 1:]


def ignored(*_):
    """Progress that nobody watches."""


def test_scores_are_those_of_the_definitions():
    models, (tokens, following) = {"dense": made(0), "other": made(1)}, windows()
    scores = evaluation.score_text(models, tokens, following, ignored)
    with torch.inference_mode():
        dense, other = (models[name](tokens).log_softmax(-1) for name in ("dense", "other"))
    loss = torch.nn.functional.cross_entropy(other.flatten(0, 1), following.flatten())
    divergence = (dense.exp() * (dense - other)).sum(-1).mean()
    agreement = (dense.argmax(-1) == other.argmax(-1)).float().mean()
    assert scores["other"].perplexity == pytest.approx(math.exp(loss), rel=1e-5)
    assert scores["other"].divergences.mean() == pytest.approx(divergence.item(), rel=1e-4)
    assert scores["other"].agreements.mean() == pytest.approx(agreement.item())


def test_dense_is_its_own_measure_and_a_ratio_is_paired():
    models, (tokens, following) = {"dense": made(0), "other": made(1)}, windows()
    scores = evaluation.score_text(models, tokens, following, ignored)
    own = evaluation.text_quality(scores["dense"], scores["dense"], confidence=0.95, seed=0)
    assert own["perplexity_ratio"] == 1.0
    assert own["perplexity_ratio_ci"] == [1.0, 1.0]
    assert own["kl_to_dense_nats"] == 0.0
    assert own["agreement_with_dense"] == 1.0
    other = evaluation.text_quality(scores["other"], scores["dense"], confidence=0.95, seed=0)
    low, high = other["perplexity_ratio_ci"]
    assert low <= other["perplexity_ratio"] <= high
    assert other["perplexity_ratio"] == pytest.approx(other["perplexity"] / own["perplexity"])


def test_a_broken_form_is_named():
    broken, (tokens, following) = made(), windows()
    broken.network.model.norm.weight.data.fill_(math.nan)
    with pytest.raises(OverwinterError, match="'broken' answers NaN"):
        evaluation.score_text({"dense": made(), "broken": broken}, tokens, following, ignored)


def test_decoding_with_kept_keys_writes_what_whole_passes_would():
    from overwinter.evaluation.language import _Decode

    model, prompt = made(), windows(1, 6)[0]
    session = _Decode(model, prompt, 4)
    first, again = session.run(prompt.numpy()), session.run(prompt.numpy())
    with torch.inference_mode():
        tokens = prompt
        for _ in range(5):
            tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert first.tolist() == again.tolist() == tokens[:, 7:].tolist()


def test_weight_only_layers_are_served_dequantized_with_the_same_bits():
    model, (tokens, _) = made(), windows()
    for name in ("network.model.layers.0.mlp.up_proj", "network.model.layers.1.self_attn.q_proj"):
        replace_layer(model, name, IntegerLinear.from_float(model.get_submodule(name), Grid(bits=8)))
    dynamic = model.get_submodule("network.model.layers.1.mlp.up_proj")
    replace_layer(
        model,
        "network.model.layers.1.mlp.up_proj",
        IntegerLinear.from_float(dynamic, Grid(bits=8), activations="dynamic"),
    )
    with torch.inference_mode():
        before = model(tokens)
        evaluation.as_served(model)
        assert torch.equal(model(tokens), before)
    assert list(integer_layers(model)) == ["network.model.layers.1.mlp.up_proj"]


def test_both_phases_are_timed_apart(make_meter):
    prompt = windows(1, 6)[0]
    figures = evaluation.compare_answers(
        {"dense": made(), "other": made(1)}, prompt, SETTINGS, meter=make_meter(), seed=0, progress=ignored
    )
    entry = figures["dense"].to_json()
    assert set(figures) == {"dense", "other"}
    assert (entry["prefill"]["tokens"], entry["decode"]["tokens"]) == (6, 4)
    assert entry["prefill"]["tokens_per_s"] > entry["decode"]["tokens_per_s"] > 0
    joules = 6 * entry["prefill"]["energy_per_token_j"] + 4 * entry["decode"]["energy_per_token_j"]
    assert entry["energy_per_answer_j"] == pytest.approx(joules)
    assert entry["energy_per_answer_ci_j"][0] <= joules <= entry["energy_per_answer_ci_j"][1]


def candidate(form, *, ratio, energy_j, simplicity):
    figures = SimpleNamespace(energy_j=energy_j, energy_ci_j=(0.98 * energy_j, 1.02 * energy_j))
    return evaluation.LanguageCandidate(
        form=form, simplicity=simplicity, size_bytes=1, quality={"perplexity_ratio": ratio}, figures=figures
    )


@pytest.mark.parametrize(
    ("ratio", "energy_j", "chosen"),
    [(1.01, 0.5, "other"), (1.03, 0.5, "dense"), (1.0, 0.99, "dense"), (0.99, 0.5, "other")],
)
def test_the_fewest_joules_within_the_limit_are_chosen_and_equals_stay_dense(ratio, energy_j, chosen):
    candidates = [
        candidate("dense", ratio=1.0, energy_j=1.0, simplicity=0),
        candidate("other", ratio=ratio, energy_j=energy_j, simplicity=1),
    ]
    choice = evaluation.choose([each.option() for each in candidates], max_quality_loss=0.02)
    assert choice.chosen.form == chosen


def test_the_interval_of_a_mean_holds_it():
    from overwinter.evaluation.bootstrap import bootstrap_interval

    low, high = bootstrap_interval([0.0, 0.0, 0.0, 1.0], confidence=0.95, seed=0, statistic=np.mean)
    assert low <= 0.25 <= high
