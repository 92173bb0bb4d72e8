"""Drawing of a token from logits, and their log probabilities, in numpy.

Temperature, then the `top_k` most probable tokens, then the nucleus of `top_p` (Holtzman et al., *The Curious Case of
Neural Text Degeneration*, 2020), then those of at least `min_p` times the largest probability (Nguyen et al., *Turning
Up the Heat: Min-p Sampling*, 2024): the order of transformers' `GenerationMixin._get_logits_processor`. Each step sees
the probabilities that the steps before it left, normalized. llama.cpp's default order has the temperature last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from overwinter.runtime import Array, softmax

_LEAST_LOGPROB = -9999.0  # of a token that the model excludes; JSON has no infinity


def drawing(
    *, temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, seed: int | None = None
) -> Callable[[Array], int]:
    """Return a function from logits (vocabulary) to a token.

    Args:
        temperature: The temperature; 0 takes the most probable token, whatever the other arguments.
        top_k: The number of the most probable tokens to draw from, more if the last ones are equal; 0: all.
        top_p: The total probability of the most probable tokens to draw from.
        min_p: The least probability of a token to draw, as a share of the largest one.
        seed: The random seed; None: random.
    """
    if temperature == 0:
        return lambda logits: int(logits.argmax())
    rng = np.random.default_rng(seed)

    def draw(logits: Array) -> int:
        tokens, chances = candidates(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        return int(rng.choice(tokens, p=chances))

    return draw


def candidates(logits: Array, *, temperature: float, top_k: int, top_p: float, min_p: float) -> tuple[Array, Array]:
    """Return the tokens to draw from, the most probable first, and their probabilities."""
    with np.errstate(over="ignore"):  # a temperature next to 0 leaves the most probable token alone
        shares = softmax(logits, temperature)
    tokens = _top(logits, top_k)
    tokens = tokens[np.argsort(-shares[tokens], kind="stable")]
    sums = np.cumsum(shares[tokens])
    tokens = tokens[: int(np.searchsorted(sums, top_p * sums[-1])) + 1]
    tokens = tokens[shares[tokens] >= min_p * shares[tokens[0]]]
    return tokens, shares[tokens] / shares[tokens].sum()


def logprobs_of(logits: Array, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """Return the log probability of a token, and the `count` most probable tokens with theirs.

    They are the model's own: before temperature and the other sampling parameters.
    """
    logits = logits.astype(np.float64) - logits.max()
    logprobs = np.maximum(logits - np.log(np.exp(logits).sum()), _LEAST_LOGPROB)
    top = _top(logits, count) if count else np.array([], dtype=int)
    top = top[np.argsort(-logprobs[top], kind="stable")][:count]
    return float(logprobs[token]), [(int(each), float(logprobs[each])) for each in top]


def _top(logits: Array, count: int) -> Array:
    """Return the tokens with the `count` largest logits, and those that equal the last of them; 0: all tokens."""
    if not 0 < count < len(logits):
        return np.arange(len(logits))
    least = np.partition(logits, -count)[-count]
    return np.flatnonzero(logits >= least)
