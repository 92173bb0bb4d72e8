"""Cost of generated responses. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from overwinter.evaluation.figures import Figures, Interval, low_and_high
from overwinter.units import format_si


@dataclass(frozen=True, kw_only=True)
class GenerationCost:
    """Cost of a generated response: a prompt read, and tokens generated.

    Attributes:
        prompt_tokens: The number of tokens read.
        written_tokens: The number of tokens generated.
        prefill: figures per token read; latencies are for the whole prompt.
        decode: figures per token generated; latencies are for all tokens.
    """

    prompt_tokens: int
    written_tokens: int
    prefill: Figures
    decode: Figures

    @property
    def batch_size(self) -> None:
        """None: a response has one prompt."""

    @property
    def shape_tokens(self) -> tuple[int, int]:
        """Tokens read and written."""
        return self.prompt_tokens, self.written_tokens

    @property
    def shape(self) -> str:
        """Tokens of the prompt + tokens written."""
        return f"{self.prompt_tokens}+{self.written_tokens}"

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
    def samples(self) -> int:
        """The number of samples that the interval comes from, of the phase with fewer."""
        return min(self.prefill.samples, self.decode.samples)

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
        return f"{energy} per response of {self.shape} tokens ({self.decode.provenance})"

    def describe(self) -> str:
        """Return both phases' joules and speed in words."""
        prefill, decode = self.prefill, self.decode
        return (
            f"prefill {_tokens_per_s(prefill, self.prompt_tokens):.0f} tokens/s and "
            f"{format_si(prefill.energy_per_response_j, 'J')} per token, "
            f"decode {_tokens_per_s(decode, self.written_tokens):.1f} tokens/s and "
            f"{format_si(decode.energy_per_response_j, 'J')} per token ({decode.provenance}), "
            f"{format_si(self.energy_per_response_j, 'J')} per response of {self.shape}"
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
            "decode": _phase(self.decode, self.written_tokens),
        }

    def energy_at(self, prompt_tokens: int, written_tokens: int) -> float:
        """Return the joules of a response of another shape, as if a token cost the same there."""
        return prompt_tokens * self.prefill.energy_per_response_j + written_tokens * self.decode.energy_per_response_j

    def _whole(self, prefill_j: float, decode_j: float) -> float:
        return prefill_j * self.prompt_tokens + decode_j * self.written_tokens


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
