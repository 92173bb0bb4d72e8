import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from overwinter import evaluation
from overwinter.config.groups import LanguageEvaluateConfig
from overwinter.errors import OverwinterError
from tests.support.networks import language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

SETTINGS = LanguageEvaluateConfig(
    version=1,
    runtimes=["torch"],
    max_perplexity_increase=0.02,
    prompt_tokens=6,
    response_tokens=4,
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


def test_scores_are_those_of_the_definitions():
    models, (tokens, following) = {"dense": language_model(seed=0), "other": language_model(seed=1)}, windows()
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
    models, (tokens, following) = {"dense": language_model(seed=0), "other": language_model(seed=1)}, windows()
    scores = evaluation.score_text(models, tokens, following, ignored)
    own = evaluation.text_quality(scores["dense"], scores["dense"], confidence=0.95, seed=0)
    assert own.perplexity_ratio == 1.0
    assert own.perplexity_ratio_ci == (1.0, 1.0)
    assert own.kl_to_dense_nats == 0.0
    assert own.agreement_with_dense == 1.0
    other = evaluation.text_quality(scores["other"], scores["dense"], confidence=0.95, seed=0)
    low, high = other.perplexity_ratio_ci
    assert low <= other.perplexity_ratio <= high
    assert other.perplexity_ratio == pytest.approx(other.perplexity / own.perplexity)


def test_a_broken_variant_is_named():
    broken, (tokens, following) = language_model(), windows()
    broken.network.model.norm.weight.data.fill_(math.nan)
    with pytest.raises(OverwinterError, match="'broken' outputs NaN"):
        evaluation.score_text({"dense": language_model(), "broken": broken}, tokens, following, ignored)


def test_the_first_dense_variant_is_the_reference_and_without_one_nothing_is_compared():
    tokens, following = windows()
    models = {
        "other@torch": language_model(seed=1),
        "dense@torch": language_model(seed=0),
        "dense@torch-bf16": language_model(seed=2),
    }
    scores = evaluation.score_text(models, tokens, following, ignored)
    assert scores["dense@torch"].divergences.max() == 0
    assert scores["dense@torch-bf16"].divergences.min() > 0
    with pytest.raises(OverwinterError, match="no dense variant among other@torch"):
        evaluation.score_text({"other@torch": language_model(seed=1)}, tokens, following, ignored)


def test_decoding_with_kept_keys_writes_what_whole_passes_would():
    from overwinter.evaluation.language import _Decode

    model, prompt = language_model(), windows(1, 6)[0]
    session = _Decode(model, prompt, 4)
    first, again = session.run(prompt.numpy()), session.run(prompt.numpy())
    with torch.inference_mode():
        tokens = prompt
        for _ in range(5):
            tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert first.tolist() == again.tolist() == tokens[:, 7:].tolist()


def test_both_phases_are_timed_apart(make_meter):
    prompt = windows(1, 6)[0]
    figures = evaluation.compare_predictions(
        {"dense": language_model(), "other": language_model(seed=1)},
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


def candidate(variant, *, ratio, energy_j, simplicity):
    interval = (0.98 * energy_j, 1.02 * energy_j)
    return evaluation.Candidate(
        variant=variant,
        runtime="torch",
        simplicity=simplicity,
        size_bytes=1,
        quality=evaluation.TextQuality(
            perplexity=30 * ratio,
            perplexity_ratio=ratio,
            perplexity_ratio_ci=(ratio, ratio),
            kl_to_dense_nats=0.0,
            agreement_with_dense=1.0,
        ),
        cost=SimpleNamespace(energy_per_response_j=energy_j, energy_per_response_ci_j=interval),
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
    assert evaluation.choose(candidates, max_quality_loss=0.02).chosen.variant == chosen


def test_what_dense_is_stands_beside_every_figure(make_meter):
    models, (tokens, following) = (
        {"dense@torch": language_model(seed=0), "other@torch": language_model(seed=1)},
        windows(),
    )
    scores = evaluation.score_text(models, tokens, following, ignored)
    figures = evaluation.compare_predictions(models, tokens[:1], SETTINGS, meter=make_meter(), seed=0, progress=ignored)
    candidates = [
        evaluation.Candidate(
            variant=name.partition("@")[0],
            runtime="torch",
            simplicity=0,
            size_bytes=1,
            quality=evaluation.text_quality(
                scores[name], scores["dense@torch"], confidence=0.95, seed=0, origin="dequantized Q4_1"
            ),
            cost=figures[name],
        )
        for name in models
    ]
    choice = evaluation.choose(candidates, max_quality_loss=0.02)
    metrics = choice.metrics(device="cpu")
    lines = evaluation.verdict(candidates, choice)
    entries = evaluation.comparison(candidates).candidates.values()
    assert {entry["origin"] for entry in entries} == {"dequantized Q4_1"}
    assert metrics.dense.origin == metrics.chosen.origin == "dequantized Q4_1"
    assert all("of dense, which is dequantized Q4_1" in line for line in lines[:2])


def test_the_interval_of_a_mean_holds_it():
    from overwinter.evaluation.bootstrap import bootstrap_interval

    low, high = bootstrap_interval([0.0, 0.0, 0.0, 1.0], confidence=0.95, seed=0, statistic=np.mean)
    assert low <= 0.25 <= high
