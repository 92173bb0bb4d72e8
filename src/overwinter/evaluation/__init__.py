"""Evaluation: every variant on every runtime, measured side by side, and the one that will be served.

- `Examiner` asks the very sessions that would serve: accuracy, top 5, calibration error, worst class, agreement with
  dense, accuracy on corrupted inputs, and your own measures (`Measure`, made by `own_measures`); each `Quality` says
  which limits it breaks.
- `compare_speed` times sessions in one process, interleaved in random order, with warm-up, and drops the
  samples during which something else used the cores; each of its `Figures` has a bootstrap interval. The variants whose
  intervals overlap are sampled on, until it is clear which uses the least.
- Joules come from a CPU counter where there is one; else they are modelled from CPU-seconds, and say so. Where a GPU
  computes (``device``), its own counter's are added to the CPU's; a response then begins and ends in the host's memory.
- Language models: `score_text` gives perplexity, divergence from dense and agreement with it on the same windows,
  `compare_predictions` the cost of a token read and of a token written, apart; `text_quality` puts the former beside
  dense.
- A `Candidate` is a variant on a runtime, with its quality (`Quality`, `TextQuality`) and its cost (`BatchCost`,
  `TextCost`). `choose` takes the one with the fewest joules per response within the quality asked for. Overlapping
  intervals count as equal, and then the simpler variant wins; a saving is against dense at its best runtime.
- A `Choice` has the few numbers of metrics.json, `comparison` all of comparison.json, `verdict` says both in words.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from overwinter.evaluation.candidate import Candidate
from overwinter.evaluation.choosing import Choice, choose
from overwinter.evaluation.comparing import compare_speed
from overwinter.evaluation.figures import BatchCost, Figures
from overwinter.evaluation.quality import Examiner, Quality, own_measures
from overwinter.evaluation.reporting import comparison, verdict
from overwinter.evaluation.scores import Measure
from overwinter.evaluation.text import TextCost, TextQuality, text_quality

if TYPE_CHECKING:
    from overwinter.evaluation.language import compare_predictions, score_text

__all__ = [
    "BatchCost",
    "Candidate",
    "Choice",
    "Examiner",
    "Figures",
    "Measure",
    "Quality",
    "TextCost",
    "TextQuality",
    "choose",
    "compare_predictions",
    "compare_speed",
    "comparison",
    "own_measures",
    "score_text",
    "text_quality",
    "verdict",
]

_NEED_TORCH = ("compare_predictions", "score_text")


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'overwinter.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module("overwinter.evaluation.language"), name)
