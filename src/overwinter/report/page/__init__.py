"""The page of a pipeline's results: where the joules went, what was saved, and what to try next.

`reading` reads the content (`content`) from a project's files: `stages`, `traces`, `responses`, `accounts`, `lineage`,
`sweeps`, and from these the `advice`. `rendering` makes one HTML file of it, with `charts`, of which the energy's
`flow` has a layout of its own; `drawing` draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.report.page.content import ReportContent
    from overwinter.report.page.reading import read_content
    from overwinter.report.page.rendering import render_page, write_figures

__all__ = ["ReportContent", "read_content", "render_page", "write_figures"]

__getattr__ = lazily(
    __name__,
    {
        "ReportContent": "content",
        "read_content": "reading",
        "render_page": "rendering",
        "write_figures": "rendering",
    },
)
