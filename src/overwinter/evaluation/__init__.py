"""Evaluation: every form on every runtime, measured side by side, and the one that will be served.

- `Examiner` asks the very sessions that would serve: accuracy, top 5, calibration error, worst class, agreement with
  dense, accuracy on spoilt inputs, and your own measures (`Measure`, made by `own_measures`); each `Quality` says which
  limits it breaks.
- `compare_speed` times sessions in one process, interleaved in random order, with warm-up, and drops the
  samples during which something else used the cores; each of its `Figures` has a bootstrap interval. The forms whose
  intervals overlap are sampled on, until it is clear which uses the least.
- Joules come from a CPU counter where there is one; else they are modelled from CPU-seconds, and say so. Where a GPU
  answers (``device``), its own counter's are added to the CPU's; an answer then begins and ends in the host's memory.
- `choose` takes the form with the fewest joules per answer within the quality asked for. Overlapping
  intervals count as equal, and then the simpler form wins; a saving is against dense at its best runtime.
- Language models: `score_text` gives perplexity, divergence from dense and agreement with it on the same windows,
  `compare_answers` the cost of a token read and of a token written, apart. `LanguageCandidate`, `text_quality`,
  `language_report` and `language_verdict` are their words.
- `report` puts it into the words of metrics.json, `comparison` all batch sizes into those of comparison.json.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from overwinter.evaluation.choosing import Choice, Option, choose
from overwinter.evaluation.comparing import compare_speed, describe, verdict
from overwinter.evaluation.figures import Figures
from overwinter.evaluation.language_report import (
    LanguageCandidate,
    language_report,
    language_verdict,
    text_quality,
)
from overwinter.evaluation.quality import Examiner, Quality, own_measures
from overwinter.evaluation.reporting import Candidate, comparison, report
from overwinter.evaluation.scores import Measure

if TYPE_CHECKING:
    from overwinter.evaluation.language import compare_answers, score_text

__all__ = [
    "Candidate",
    "Choice",
    "Examiner",
    "Figures",
    "LanguageCandidate",
    "Measure",
    "Option",
    "Quality",
    "choose",
    "compare_answers",
    "compare_speed",
    "comparison",
    "describe",
    "language_report",
    "language_verdict",
    "own_measures",
    "report",
    "score_text",
    "text_quality",
    "verdict",
]

_NEED_TORCH = ("compare_answers", "score_text")


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'overwinter.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module("overwinter.evaluation.language"), name)
