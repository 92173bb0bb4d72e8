"""Probabilities and divergences that several tasks share."""

from __future__ import annotations

import numpy as np

from overwinter.tasks.interface import Array, Values


def softmax(logits: Array) -> Values:
    """Return probabilities over the last axis."""
    return np.asarray(np.exp(log_softmax(logits)))


def log_softmax(logits: Array) -> Values:
    """Return log probabilities over the last axis, in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def sigmoid(logits: Array) -> Values:
    """Return the probability of each label by itself."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def kl_divergence(logits: Array, reference: Array) -> Values:
    """Return the Kullback-Leibler divergence from ``reference``, in nats, over the last axis."""
    expected, found = log_softmax(reference), log_softmax(logits)
    return np.asarray((np.exp(expected) * (expected - found)).sum(axis=-1))


def relative_error(outputs: Array, reference: Array) -> Values:
    """Return each sample's root mean square error (n,) over the standard deviation of all reference values."""
    difference = (outputs.astype(np.float64) - reference).reshape(len(outputs), -1)
    spread = float(reference.astype(np.float64).std())
    return np.asarray(np.sqrt((difference**2).mean(axis=1)) / max(spread, np.finfo(np.float64).tiny))
