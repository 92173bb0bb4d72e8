"""Evaluation: every form on every runtime, measured side by side, and the one that will be served.

- `measure_quality` is the accuracy of the very session that would serve.
- `compare_speed` times sessions in one process, interleaved in random order, with warm-up, and drops the
  samples during which something else used the cores; each of its `Figures` has a bootstrap interval.
- Joules come from a CPU counter where there is one; else they are modelled from CPU-seconds, and say so.
- `choose` takes the form with the fewest joules per answer within the quality asked for. Overlapping
  intervals count as equal, and then the simpler form wins; a saving is against dense at its best runtime.
- `report` puts it into the words of metrics.json, `comparison` all batch sizes into those of comparison.json.
"""

from overwinter.evaluation.choosing import Choice, Option, choose
from overwinter.evaluation.comparing import compare_speed, verdict
from overwinter.evaluation.figures import Figures
from overwinter.evaluation.quality import measure_quality
from overwinter.evaluation.reporting import Candidate, comparison, report

__all__ = [
    "Candidate",
    "Choice",
    "Figures",
    "Option",
    "choose",
    "compare_speed",
    "comparison",
    "measure_quality",
    "report",
    "verdict",
]
