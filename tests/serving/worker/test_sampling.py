"""The tokens to draw from are those that transformers' warpers leave, with the same probabilities."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from overwinter.serving.worker.sampling import candidates, drawing, logprobs_of

DISTINCT = st.builds(
    lambda seed, size, spread: (np.random.default_rng(seed).normal(size=size) * spread).astype(np.float32),
    st.integers(0, 2**32),
    st.integers(2, 40),
    st.floats(0.1, 5),
)
LOGITS = arrays.arrays(np.float32, st.integers(2, 40), elements=st.floats(-12, 12, width=32))
PARAMS = {
    "temperature": st.floats(0.05, 2),
    "top_k": st.integers(0, 45),
    "top_p": st.floats(0, 1),
    "min_p": st.floats(0, 1),
}


def warped(logits, *, temperature, top_k, top_p, min_p):
    """Probabilities (vocabulary) after transformers' warpers, in its order, and after each of them."""
    torch = pytest.importorskip("torch")
    warpers = pytest.importorskip("transformers.generation.logits_process", reason="the extra llm is not installed")
    steps = [warpers.TemperatureLogitsWarper(temperature)]
    steps += [warpers.TopKLogitsWarper(top_k)] if top_k else []
    steps += [warpers.TopPLogitsWarper(top_p), warpers.MinPLogitsWarper(min_p)]
    scores, after = torch.from_numpy(logits.astype(np.float64))[None], []
    for step in steps:
        scores = step(None, scores)
        after.append(scores.softmax(-1)[0].numpy())
    return after


def is_near_an_edge(shares, top_p, min_p):
    """Whether rounding could decide on a token, or equal ones stand in an order that is no one's."""
    ordered = np.sort(shares)[::-1]
    ordered = ordered[ordered > 0]
    edges = np.concatenate([np.cumsum(ordered) - top_p, ordered / ordered[0] - min_p])
    return bool((np.abs(edges) < 1e-9).any() or (np.diff(ordered) == 0).any())


@given(logits=DISTINCT, **PARAMS)
def test_the_candidates_are_transformers(logits, temperature, top_k, top_p, min_p):
    after = warped(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    assume(not is_near_an_edge(after[-3], top_p, min_p))
    tokens, chances = candidates(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    found = np.zeros(len(logits))
    found[tokens] = chances
    np.testing.assert_allclose(found, after[-1], atol=1e-12)


@given(logits=LOGITS, top_k=st.integers(1, 45))
def test_equal_tokens_are_all_among_the_top(logits, top_k):
    """As in transformers, which keeps what is not below the last of them."""
    logits = np.round(logits)
    (_, expected, *_) = warped(logits, temperature=1.0, top_k=top_k, top_p=1.0, min_p=0.0)
    tokens, chances = candidates(logits, temperature=1.0, top_k=top_k, top_p=1.0, min_p=0.0)
    np.testing.assert_allclose(chances, expected[tokens], atol=1e-9)
    assert set(np.flatnonzero(expected > 1e-12)) <= set(tokens) <= set(np.flatnonzero(expected))


@given(logits=LOGITS, top_k=PARAMS["top_k"], top_p=PARAMS["top_p"], min_p=PARAMS["min_p"])
def test_the_most_probable_token_is_taken_whatever_else_is_set(logits, top_k, top_p, min_p):
    draw = drawing(temperature=0, top_k=top_k, top_p=top_p, min_p=min_p)
    assert draw(logits) == logits.argmax()


@given(logits=LOGITS, seed=st.integers(0, 2**64 - 1), **PARAMS)
def test_equal_seeds_draw_equal_tokens_among_the_candidates(logits, seed, **params):
    draws = [[drawing(seed=seed, **params)(logits) for _ in range(3)] for _ in range(2)]
    assert draws[0] == draws[1]
    assert set(draws[0]) <= set(candidates(logits, **params)[0].tolist())


def test_tokens_are_drawn_in_their_proportion():
    draw = drawing(temperature=1.0, top_k=3, min_p=0.3, seed=0)
    logits = np.log(np.array([0.4, 0.1, 0.3, 0.2]))
    counts = np.bincount([draw(logits) for _ in range(3000)], minlength=4) / 3000
    np.testing.assert_allclose(counts, [4 / 9, 0, 3 / 9, 2 / 9], atol=0.03)


@given(logits=LOGITS, count=st.integers(0, 20))
def test_log_probabilities_are_the_models(logits, count):
    torch = pytest.importorskip("torch")
    expected = torch.from_numpy(logits).double().log_softmax(-1).numpy()
    logprob, top = logprobs_of(logits, 1, count)
    assert logprob == pytest.approx(expected[1], abs=1e-9)
    assert len(top) == min(count, len(logits))
    np.testing.assert_allclose([each for _, each in top], np.sort(expected)[::-1][: len(top)], atol=1e-9)
    np.testing.assert_allclose([each for _, each in top], expected[[token for token, _ in top]], atol=1e-9)


def test_an_excluded_token_has_a_finite_log_probability():
    assert logprobs_of(np.array([0.0, -np.inf], dtype=np.float32), 1, 2) == (-9999.0, [(0, 0.0), (1, -9999.0)])
