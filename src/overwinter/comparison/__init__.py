"""Comparison of two runs: what changed in parameters, joules, quality and size, and whether it is beyond the noise.

- `sources` finds what a name means (a revision, a DVC experiment, the workspace) and reads files there, through `git`
  without a checkout; `history` reads runs of the ledger.
- `contents` turns files into a `Side`: parameters, energy records, metrics, and what is wrong with them.
- `noise` estimates from the ledger how much a figure varies when the same thing is measured again; `statistics` has
  the intervals of differences.
- `changes` compares the sides figure by figure, with a verdict each; `limits` judges them for `--fail-if`.

Nothing is checked out, run or imported from the compared revisions, and no file is written.
"""

from overwinter.comparison.changes import compare
from overwinter.comparison.contents import Side
from overwinter.comparison.limits import Limit, check_names, judge, parse_limit
from overwinter.comparison.noise import Noises, read_noises
from overwinter.comparison.records import FigureChange, RunComparison
from overwinter.comparison.sides import open_side

__all__ = [
    "FigureChange",
    "Limit",
    "Noises",
    "RunComparison",
    "Side",
    "check_names",
    "compare",
    "judge",
    "open_side",
    "parse_limit",
    "read_noises",
]
