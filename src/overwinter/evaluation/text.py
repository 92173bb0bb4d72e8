"""Quality of a language model's variants, and the cost of their responses. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import OverwinterError
from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.choosing import DENSE
from overwinter.evaluation.figures import Figures, Interval, low_and_high
from overwinter.units import format_si


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """Scores of a variant on a text, per window.

    Attributes:
        losses: mean negative log-likelihood of the next token, nats; (windows,).
        divergences: mean Kullback-Leibler divergence from dense's next-token distribution, nats; (windows,).
        agreements: share of positions at which its most probable token is dense's; (windows,).
    """

    losses: NDArray[np.float64]
    divergences: NDArray[np.float64]
    agreements: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[float, float, float]]) -> Self:
        """Create the scores from (loss, divergence, agreement) per window."""
        losses, divergences, agreements = np.asarray(rows, dtype=np.float64).T
        return cls(losses=losses, divergences=divergences, agreements=agreements)

    @property
    def perplexity(self) -> float:
        """Perplexity of all windows together."""
        return math.exp(float(self.losses.mean()))

    def ratio_to(self, dense: TextScores) -> float:
        """Return the perplexity over the dense model's on the same windows."""
        return math.exp(float((self.losses - dense.losses).mean()))

    def ratio_interval(self, dense: TextScores, *, confidence: float, seed: int) -> Interval:
        """Return the ratio's interval by a paired bootstrap over the windows."""
        low, high = bootstrap_interval(
            list(self.losses - dense.losses), confidence=confidence, seed=seed, statistic=np.mean
        )
        return math.exp(low), math.exp(high)


@dataclass(frozen=True, kw_only=True)
class TextQuality:
    """Quality of a variant on the test text, compared with dense.

    Attributes:
        perplexity: perplexity of all windows together.
        perplexity_ratio: ratio to dense's perplexity.
        perplexity_ratio_ci: its interval.
        kl_to_dense_nats: mean Kullback-Leibler divergence from dense.
        agreement_with_dense: share of positions with the same most probable token.
        origin: origin of dense's weights if they are not as trained; reported with every figure.
        broken_limits: empty; only the score has a limit.
    """

    perplexity: float
    perplexity_ratio: float
    perplexity_ratio_ci: Interval
    kl_to_dense_nats: float
    agreement_with_dense: float
    origin: str | None = None
    broken_limits: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Negative perplexity ratio to dense; higher is better."""
        return -self.perplexity_ratio

    @property
    def headline(self) -> dict[str, Any]:
        """Perplexity, for metrics.json."""
        return {"headline": "perplexity", "quality": self.perplexity, "origin": self.origin}

    def brief(self) -> str:
        """Return the perplexity in words."""
        return f"perplexity {self.perplexity:.2f}"

    def describe(self) -> str:
        """Return the perplexity compared with dense's."""
        dense = DENSE if self.origin is None else f"dense, which is {self.origin}"
        return f"{self.brief()} ({self.perplexity_ratio:.4f} of {dense})"

    def loss(self) -> str:
        """Return the interval of the perplexity ratio to dense, in words."""
        low, high = self.perplexity_ratio_ci
        return f"its perplexity is between {low:.4f} and {high:.4f} of dense's"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for comparison.json."""
        return {
            **({} if self.origin is None else {"origin": self.origin}),
            "perplexity": self.perplexity,
            "perplexity_ratio": self.perplexity_ratio,
            **low_and_high("perplexity_ratio", self.perplexity_ratio_ci),
            "kl_to_dense_nats": self.kl_to_dense_nats,
            "agreement_with_dense": self.agreement_with_dense,
        }


def text_quality(
    scores: TextScores, dense: TextScores, *, confidence: float, seed: int, origin: str | None = None
) -> TextQuality:
    """Return the quality of a variant compared with dense; ``origin`` as in `TextQuality`."""
    return TextQuality(
        perplexity=scores.perplexity,
        perplexity_ratio=scores.ratio_to(dense),
        perplexity_ratio_ci=scores.ratio_interval(dense, confidence=confidence, seed=seed),
        kl_to_dense_nats=float(scores.divergences.mean()),
        agreement_with_dense=float(scores.agreements.mean()),
        origin=origin,
    )


@dataclass(frozen=True, kw_only=True)
class TextCost:
    """Cost of a language model's response: a prompt read, and tokens generated.

    Attributes:
        prompt_tokens: The number of tokens read.
        response_tokens: The number of tokens generated.
        prefill: figures per token read; latencies are for the whole prompt.
        decode: figures per token generated; latencies are for all tokens.
    """

    prompt_tokens: int
    response_tokens: int
    prefill: Figures
    decode: Figures

    @property
    def latency_p50_s(self) -> float:
        """Sum of both phases' medians."""
        return self.prefill.latency_p50_s + self.decode.latency_p50_s

    @property
    def energy_per_response_j(self) -> float:
        """Joules of a response."""
        return self._whole(self.prefill.energy_per_response_j, self.decode.energy_per_response_j)

    @property
    def energy_per_response_ci_j(self) -> Interval:
        """Confidence interval of the joules, from the ends of both phases' intervals, so conservative."""
        lows, highs = zip(self.prefill.energy_per_response_ci_j, self.decode.energy_per_response_ci_j, strict=True)
        return self._whole(*lows), self._whole(*highs)

    @property
    def measured(self) -> bool:
        """True if counters gave all the joules."""
        return self.prefill.measured and self.decode.measured

    @property
    def quiet(self) -> bool:
        """True if no other process used the cores during the used samples."""
        return self.prefill.quiet and self.decode.quiet

    def brief(self) -> str:
        """Return the joules per response in words."""
        energy = format_si(self.energy_per_response_j, "J")
        return f"{energy} per response of {self.response_tokens} tokens ({self.decode.provenance})"

    def describe(self) -> str:
        """Return both phases' joules and speed in words."""
        prefill, decode = self.prefill, self.decode
        return (
            f"prefill {_tokens_per_s(prefill, self.prompt_tokens):.0f} tokens/s and "
            f"{format_si(prefill.energy_per_response_j, 'J')} per token, "
            f"decode {_tokens_per_s(decode, self.response_tokens):.1f} tokens/s and "
            f"{format_si(decode.energy_per_response_j, 'J')} per token ({decode.provenance})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields for comparison.json; latencies are the sums of both phases' quantiles."""
        return {
            "latency_p50_s": self.latency_p50_s,
            "latency_p95_s": self.prefill.latency_p95_s + self.decode.latency_p95_s,
            "energy_per_response_j": self.energy_per_response_j,
            **low_and_high("energy_per_response", self.energy_per_response_ci_j, unit="_j"),
            "measured": self.measured,
            "prefill": _phase(self.prefill, self.prompt_tokens),
            "decode": _phase(self.decode, self.response_tokens),
        }

    def _whole(self, prefill_j: float, decode_j: float) -> float:
        return prefill_j * self.prompt_tokens + decode_j * self.response_tokens


def dense_among(names: Sequence[str]) -> str:
    """Return the first dense name, variant or variant@runtime, as the reference.

    Raises:
        OverwinterError: there is no dense variant.
    """
    for name in names:
        if name.partition("@")[0] == DENSE:
            return name
    raise OverwinterError(f"There is no dense variant among {', '.join(names)} to compare with.")


def _phase(figures: Figures, tokens: int) -> dict[str, Any]:
    gpu_j = figures.gpu_energy_per_response_j
    return {
        "tokens": tokens,
        "tokens_per_s": _tokens_per_s(figures, tokens),
        "cpu_s_per_token": figures.cpu_s_per_response,
        **low_and_high("cpu_s_per_token", figures.cpu_s_per_response_ci),
        "energy_per_token_j": figures.energy_per_response_j,
        **low_and_high("energy_per_token", figures.energy_per_response_ci_j, unit="_j"),
        "samples": figures.samples,
        "disturbed_samples": figures.disturbed_samples,
        **({} if gpu_j is None else {"gpu_energy_per_token_j": gpu_j}),
    }


def _tokens_per_s(figures: Figures, tokens: int) -> float:
    return tokens / figures.latency_p50_s
