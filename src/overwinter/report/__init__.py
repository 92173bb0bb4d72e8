"""Terminal output of a run: its progress, the summary table, and the comparison of two runs."""

from overwinter.report.comparison import print_comparison, render_markdown
from overwinter.report.progress import PlainProgress, RichProgress, progress_for
from overwinter.report.summary import StageSummary, render_summary, summarize

__all__ = [
    "PlainProgress",
    "RichProgress",
    "StageSummary",
    "print_comparison",
    "progress_for",
    "render_markdown",
    "render_summary",
    "summarize",
]
