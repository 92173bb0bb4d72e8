"""Terminal output of a run: its progress, and the summary table."""

from overwinter.report.progress import PlainProgress, RichProgress, progress_for
from overwinter.report.summary import StageSummary, render_summary, summarize

__all__ = ["PlainProgress", "RichProgress", "StageSummary", "progress_for", "render_summary", "summarize"]
