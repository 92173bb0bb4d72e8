"""What the user sees: the closing table of a run, and its progress while it goes on."""

from overwinter.report.progress import PlainProgress, RichProgress, progress_for
from overwinter.report.summary import StageSummary, render_summary, summarize

__all__ = ["PlainProgress", "RichProgress", "StageSummary", "progress_for", "render_summary", "summarize"]
