"""Figures of language models, the choice among forms, and the words of metrics.json. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import OverwinterError
from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.choosing import DENSE, Choice, Option
from overwinter.evaluation.figures import Figures, Interval
from overwinter.evaluation.reporting import told
from overwinter.units import format_bytes, format_si


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """What a form says of a text, window by window.

    Attributes:
        losses: mean negative log-likelihood of the next token, nats; (windows,).
        divergences: mean Kullback-Leibler divergence from dense's next-token distribution, nats; (windows,).
        agreements: share of positions at which its likeliest token is dense's; (windows,).
    """

    losses: NDArray[np.float64]
    divergences: NDArray[np.float64]
    agreements: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[float, float, float]]) -> Self:
        """Make it of (loss, divergence, agreement) per window."""
        losses, divergences, agreements = np.asarray(rows, dtype=np.float64).T
        return cls(losses=losses, divergences=divergences, agreements=agreements)

    @property
    def perplexity(self) -> float:
        """Of all windows together."""
        return math.exp(float(self.losses.mean()))

    def ratio_to(self, dense: TextScores) -> float:
        """Perplexity over the dense model's on the same windows."""
        return math.exp(float((self.losses - dense.losses).mean()))

    def ratio_interval(self, dense: TextScores, *, confidence: float, seed: int) -> Interval:
        """Return the ratio's interval: windows are drawn anew, in pairs (paired bootstrap)."""
        low, high = bootstrap_interval(
            list(self.losses - dense.losses), confidence=confidence, seed=seed, statistic=np.mean
        )
        return math.exp(low), math.exp(high)


@dataclass(frozen=True, kw_only=True)
class AnswerFigures:
    """What an answer costs: a prompt read, and tokens written.

    Attributes:
        prompt_tokens: read.
        answer_tokens: written.
        prefill: figures per token read; latencies are of the whole prompt.
        decode: figures per token written; latencies are of all tokens.
    """

    prompt_tokens: int
    answer_tokens: int
    prefill: Figures
    decode: Figures

    @property
    def energy_j(self) -> float:
        """Joules of an answer."""
        return self._whole(self.prefill.energy_per_answer_j, self.decode.energy_per_answer_j)

    @property
    def energy_ci_j(self) -> Interval:
        """Its interval: of both phases at their ends, so rather too wide."""
        lows, highs = zip(self.prefill.energy_per_answer_ci_j, self.decode.energy_per_answer_ci_j, strict=True)
        return self._whole(*lows), self._whole(*highs)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for metrics.json; latencies are the sums of both phases' quantiles."""
        return {
            "latency_p50_s": self.prefill.latency_p50_s + self.decode.latency_p50_s,
            "latency_p95_s": self.prefill.latency_p95_s + self.decode.latency_p95_s,
            "energy_per_answer_j": self.energy_j,
            "energy_per_answer_ci_j": list(self.energy_ci_j),
            "measured": self.prefill.measured and self.decode.measured,
            "prefill": _phase(self.prefill, self.prompt_tokens),
            "decode": _phase(self.decode, self.answer_tokens),
        }

    def _whole(self, prefill_j: float, decode_j: float) -> float:
        return prefill_j * self.prompt_tokens + decode_j * self.answer_tokens


@dataclass(frozen=True, kw_only=True)
class LanguageCandidate:
    """A form of a language model on a runtime, measured.

    Attributes:
        form: ``dense``, ``int8_weight_only``, ...
        runtime: `torch` or `torch-bf16`.
        simplicity: 0 for dense, more for each transformation.
        size_bytes: of its weights on disk.
        quality: its entry for metrics.json: perplexity, ratio to dense, divergence, agreement.
        figures: what its answers cost.
    """

    form: str
    runtime: str
    simplicity: int
    size_bytes: int
    quality: Mapping[str, Any]
    figures: AnswerFigures

    @property
    def name(self) -> str:
        """``form@runtime``."""
        return f"{self.form}@{self.runtime}"

    def option(self) -> Option:
        """Return what competes; the better the lower its perplexity is, as a multiple of dense's."""
        return Option(
            form=self.form,
            runtime=self.runtime,
            simplicity=self.simplicity,
            quality=-self.quality["perplexity_ratio"],
            energy_j=self.figures.energy_j,
            energy_ci_j=self.figures.energy_ci_j,
        )

    def to_json(self) -> dict[str, Any]:
        """Return quality, size and costs."""
        return {**self.quality, "size_bytes": self.size_bytes, **self.figures.to_json()}


def dense_among(names: Sequence[str]) -> str:
    """Return the first of the names, form or form@runtime, that is dense: the reference.

    Raises:
        OverwinterError: none is.
    """
    for name in names:
        if name.partition("@")[0] == DENSE:
            return name
    raise OverwinterError(f"There is no dense form among {', '.join(names)} to compare with.")


def text_quality(scores: TextScores, dense: TextScores, *, confidence: float, seed: int) -> dict[str, Any]:
    """Return what metrics.json says of a form's quality."""
    return {
        "perplexity": scores.perplexity,
        "perplexity_ratio": scores.ratio_to(dense),
        "perplexity_ratio_ci": list(scores.ratio_interval(dense, confidence=confidence, seed=seed)),
        "kl_to_dense_nats": float(scores.divergences.mean()),
        "agreement_with_dense": float(scores.agreements.mean()),
    }


def language_report(
    candidates: Sequence[LanguageCandidate], choice: Choice, *, origin: str | None = None
) -> dict[str, Any]:
    """Return metrics.json: dense, what was chosen, whether it pays, and every candidate.

    Args:
        candidates: all of them.
        choice: among them.
        origin: what dense is, where it is not the model as it was trained; stands beside every figure.
    """
    said = {} if origin is None else {"origin": origin}
    entries = {candidate.name: said | candidate.to_json() for candidate in candidates}
    return told(entries, choice)


def language_verdict(candidates: Sequence[LanguageCandidate], choice: Choice, *, origin: str | None = None) -> str:
    """Return each form in a line, and the choice; ``origin`` as in `language_report`."""
    dense = DENSE if origin is None else f"dense, which is {origin}"
    lines = [_line(candidate, dense) for candidate in candidates]
    if choice.pays:
        lines.append(
            f"{choice.chosen.name} is chosen: {100 * choice.saving:.0f} % fewer joules than dense at its best, "
            f"{choice.dense.name}"
        )
    else:
        lines.append(
            f"{choice.chosen.name} is chosen: no other form within the limit on perplexity uses fewer joules beyond "
            "the uncertainty, so compression does not pay"
        )
    return "\n".join(lines)


def _line(candidate: LanguageCandidate, dense: str) -> str:
    quality, figures = candidate.quality, candidate.figures
    return (
        f"{candidate.name}: perplexity {quality['perplexity']:.2f} ({quality['perplexity_ratio']:.4f} of {dense}), "
        f"prefill {_tokens_per_s(figures.prefill, figures.prompt_tokens):.0f} tokens/s and "
        f"{format_si(figures.prefill.energy_per_answer_j, 'J')} per token, "
        f"decode {_tokens_per_s(figures.decode, figures.answer_tokens):.1f} tokens/s and "
        f"{format_si(figures.decode.energy_per_answer_j, 'J')} per token ({figures.decode.provenance}), "
        f"{format_bytes(candidate.size_bytes)}"
    )


def _phase(figures: Figures, tokens: int) -> dict[str, Any]:
    gpu_j = figures.gpu_energy_per_answer_j
    return {
        "tokens": tokens,
        "tokens_per_s": _tokens_per_s(figures, tokens),
        "cpu_s_per_token": figures.cpu_s_per_answer,
        "cpu_s_per_token_ci": list(figures.cpu_s_per_answer_ci),
        "energy_per_token_j": figures.energy_per_answer_j,
        "energy_per_token_ci_j": list(figures.energy_per_answer_ci_j),
        "samples": figures.samples,
        "disturbed_samples": figures.disturbed_samples,
        **({} if gpu_j is None else {"gpu_energy_per_token_j": gpu_j}),
    }


def _tokens_per_s(figures: Figures, tokens: int) -> float:
    return tokens / figures.latency_p50_s
