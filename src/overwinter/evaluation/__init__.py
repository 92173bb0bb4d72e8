"""Evaluation: measuring every variant on every runtime, and choosing the one to serve.

- `Examiner` runs the sessions that would serve over the test split, batch by batch and side by side: every measure of
  the task, agreement with dense and divergence from it, the headline on corrupted inputs, and your own measures
  (`OwnMeasure`, created by `own_measures`; `check_figures` checks them, and the names in limits, before training). Each
  `Quality` has the headline with its interval, and the limits that it breaks.
- `compare_speed` times sessions in one process, interleaved in random order, with warm-up, on batches of real inputs
  (`draw_batches`), and drops samples during which other processes used the cores; each of its `Figures` has a bootstrap
  interval. Variants with overlapping intervals are sampled further, until it is clear which uses the least.
- Joules come from a CPU counter if there is one; otherwise they are modelled from CPU-seconds and labelled so. If a GPU
  computes (``device``), its counter's joules are added; a response then begins and ends in the host's memory.
- Of a task that generates, a response is a prompt read and tokens generated: `compare_generation` gives the cost per
  token, separately for prefill and decode, of a prompt of `draw_prompt`.
- A `Candidate` is a variant on a runtime, with its `Quality` and its cost (`BatchCost`, `GenerationCost`). `choose`
  takes the one with the fewest joules per response within the quality limits. Overlapping intervals count as equal, and
  then the simpler variant wins; a saving is against dense on its best runtime.
- A `Choice` has the few numbers of metrics.json, `comparison` all of comparison.json, `verdict` both in words.
- `on_zeros` says what the single zeros of a sparse variant (`zeros_of`) save in bytes and in joules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.evaluation.candidate import Candidate
    from overwinter.evaluation.checking import check_figures
    from overwinter.evaluation.choosing import Choice, choose
    from overwinter.evaluation.comparing import compare_speed, draw_batches
    from overwinter.evaluation.examining import Examiner
    from overwinter.evaluation.figures import BatchCost, Figures
    from overwinter.evaluation.generation import EveryPosition, compare_generation, draw_prompt
    from overwinter.evaluation.generation_cost import GenerationCost
    from overwinter.evaluation.measures import OwnMeasure, own_measures
    from overwinter.evaluation.quality import Quality
    from overwinter.evaluation.reporting import comparison, verdict
    from overwinter.evaluation.zeros import on_zeros, zeros_of

__all__ = [
    "BatchCost",
    "Candidate",
    "Choice",
    "EveryPosition",
    "Examiner",
    "Figures",
    "GenerationCost",
    "OwnMeasure",
    "Quality",
    "check_figures",
    "choose",
    "compare_generation",
    "compare_speed",
    "comparison",
    "draw_batches",
    "draw_prompt",
    "on_zeros",
    "own_measures",
    "verdict",
    "zeros_of",
]

_HOMES = {
    "BatchCost": "figures",
    "Candidate": "candidate",
    "Choice": "choosing",
    "EveryPosition": "generation",
    "Examiner": "examining",
    "Figures": "figures",
    "GenerationCost": "generation_cost",
    "OwnMeasure": "measures",
    "Quality": "quality",
    "check_figures": "checking",
    "choose": "choosing",
    "compare_generation": "generation",
    "compare_speed": "comparing",
    "comparison": "reporting",
    "draw_batches": "comparing",
    "draw_prompt": "generation",
    "on_zeros": "zeros",
    "own_measures": "measures",
    "verdict": "reporting",
    "zeros_of": "zeros",
}

__getattr__ = lazily(__name__, _HOMES)
