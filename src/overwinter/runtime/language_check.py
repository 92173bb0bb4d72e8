"""Check that a built language model predicts what torch's does: at two lengths, at once and token by token."""

from __future__ import annotations

import numpy as np

from overwinter.errors import OverwinterError
from overwinter.inputs import Array
from overwinter.runtime.language_session import LanguageSession
from overwinter.runtime.output_check import finite

# At once. One of a text's first tokens, which draw all attention, may be 2 nats off alone where inputs are rounded.
_WINDOWS, _TOKENS = 4, 64
_READ, _WRITTEN = 12, 8  # tokens: of the prompt, and written after it
_LEAST_VARIETY = 1e-3  # nats; a model may predict the same everywhere


def check_language(
    session: LanguageSession, reference: LanguageSession, windows: Array, *, tolerance: float, who: str, remedy: str
) -> None:
    """Compare two sessions' next-token distributions on real text.

    The first windows are read at once, at two lengths. Then the reference writes greedily after the beginning of one,
    and both are compared at every token of that, with their caches; last, the caches are cropped, and a token is read
    again.

    Args:
        session: session of the built model.
        reference: session with the expected predictions, as a rule torch's.
        windows: tokens of real text (n, length), int64.
        tolerance: largest allowed divergence in nats, the mean over the positions of each comparison. Predictions that
            vary by less than a nat from one position to another, as an untrained model's, have to be closer by as much:
            they are near each other even where one is wrong.
        who: the two, for the message: ``OpenVINO's predictions differ from torch's``.
        remedy: what to do, for the message.

    Raises:
        OverwinterError: they diverge by more, or the reference's logits are not finite.
    """
    long = windows[:_WINDOWS, :_TOKENS]
    short = long[:, : max(1, long.shape[1] // 2)]
    comparisons = {
        f"on {each.shape[1]} tokens at once": (_logits(session, each), _logits(reference, each))
        for each in (long, short)
    } | {
        "token by token": _written(session, reference, windows[:1, :_READ]),
    }
    for where, (found, expected) in comparisons.items():
        apart, allowed = divergence(found, finite(expected)), tolerance * min(1.0, variety(expected))
        if not apart <= allowed:  # NaN is too far
            raise OverwinterError(f"{who} by {apart:.2g} nats {where}; the tolerance is {allowed:.2g}. {remedy}")


def _logits(session: LanguageSession, windows: Array) -> Array:
    """Return logits (n, length, vocabulary), of one window at a time: a runtime may take no more."""
    return np.concatenate([session.logits(windows[place : place + 1]) for place in range(len(windows))])


def divergence(found: Array, expected: Array) -> float:
    """Return the mean Kullback-Leibler divergence in nats of predictions (..., vocabulary) from the expected ones."""
    logs, wanted = _log_softmax(found), _log_softmax(expected)
    return float((np.exp(wanted) * (wanted - logs)).sum(axis=-1).mean())


def variety(logits: Array) -> float:
    """Return how much predictions (..., vocabulary) vary: their mean divergence in nats from the average prediction."""
    logs = _log_softmax(logits.reshape(-1, logits.shape[-1]))
    average = np.log(np.exp(logs).mean(axis=0))
    return max(_LEAST_VARIETY, float((np.exp(logs) * (logs - average)).sum(axis=-1).mean()))


def _written(session: LanguageSession, reference: LanguageSession, prompt: Array) -> tuple[Array, Array]:
    """Return both sessions' logits (steps, batch, vocabulary) along the text that the reference writes."""
    (found, kept), (expected, known) = session.step(prompt), reference.step(prompt)
    both = [(found, expected)]
    for _ in range(_WRITTEN):
        token = both[-1][1].argmax(-1)[:, None]
        (found, kept), (expected, known) = session.step(token, kept), reference.step(token, known)
        both.append((found, expected))
    if kept.can_crop and known.can_crop:
        kept.crop(_WRITTEN)
        known.crop(_WRITTEN)
        token = prompt[:, :1]
        both.append((session.step(token, kept)[0], reference.step(token, known)[0]))
    return np.stack([each for each, _ in both]), np.stack([each for _, each in both])


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
