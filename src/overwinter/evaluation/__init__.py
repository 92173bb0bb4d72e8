"""Evaluation: measuring every variant on every runtime, and choosing the one to serve.

- `Examiner` evaluates the sessions that would serve: accuracy, top 5, calibration error, worst class, agreement with
  dense, accuracy on corrupted inputs, and your own measures (`Measure`, created by `own_measures`); each `Quality`
  lists the limits that it breaks.
- `compare_speed` times sessions in one process, interleaved in random order, with warm-up, and drops samples during
  which other processes used the cores; each of its `Figures` has a bootstrap interval. Variants with overlapping
  intervals are sampled further, until it is clear which uses the least.
- Joules come from a CPU counter if there is one; otherwise they are modelled from CPU-seconds and labelled so. If a GPU
  computes (``device``), its counter's joules are added; a response then begins and ends in the host's memory.
- Language models: `score_text` returns perplexity, divergence from dense and agreement with dense on the same windows,
  `compare_predictions` the cost per token, separately for prefill and decode; `text_quality` compares with dense.
- A `Candidate` is a variant on a runtime, with its quality (`Quality`, `TextQuality`) and its cost (`BatchCost`,
  `TextCost`). `choose` takes the one with the fewest joules per response within the quality limits. Overlapping
  intervals count as equal, and then the simpler variant wins; a saving is against dense on its best runtime.
- A `Choice` has the few numbers of metrics.json, `comparison` all of comparison.json, `verdict` both in words.
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
