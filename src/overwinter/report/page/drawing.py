"""Drawing of charts: Vega-Lite, as of DVC's plots, made SVG or PNG by the Vega project's vl-convert, offline.

The page's charts have colours that its style sheet sets (`var(--...)`), so that one drawing is light and dark; files
have fixed colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError
from overwinter.files import write_text

_PNG_SCALE = 2.0  # pixels per unit


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a chart.

    Attributes:
        ink: Text.
        faint: Axes and grids.
        paper: The background; None for none.
        series: Colours of series that the colour-blind distinguish too (Okabe and Ito, "Color Universal Design", 2008).
        good: What was chosen.
    """

    ink: str
    faint: str
    paper: str | None
    series: tuple[str, ...]
    good: str


ON_PAGE = Palette(
    ink="var(--ink)",
    faint="var(--line)",
    paper=None,
    series=tuple(f"var(--series-{place})" for place in range(1, 7)),
    good="var(--good)",
)
ON_PAPER = Palette(
    ink="#1d2530",
    faint="#c9d0d8",
    paper="#ffffff",
    series=("#0072b2", "#d55e00", "#009e73", "#a8518b", "#8a6d00", "#56789a"),
    good="#00704f",
)


def is_available() -> bool:
    """Return whether charts can be drawn."""
    try:
        import vl_convert  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def require_available() -> None:
    """Check that charts can be drawn.

    Raises:
        ConfigError: vl-convert is not installed.
    """
    if not is_available():
        raise ConfigError("charts need vl-convert: pip install 'overwinter[report]'.")


def svg_of(chart: Mapping[str, Any], palette: Palette) -> str:
    """Return a chart as the text of an SVG file."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(_styled(chart, palette)))


def write_figure(path: Path, chart: Mapping[str, Any]) -> None:
    """Write a chart as ``path`` with the suffixes .svg and .png."""
    import vl_convert

    styled = _styled(chart, ON_PAPER)
    write_text(path.with_suffix(".svg"), str(vl_convert.vegalite_to_svg(styled)))
    path.with_suffix(".png").write_bytes(vl_convert.vegalite_to_png(styled, scale=_PNG_SCALE))


def _styled(chart: Mapping[str, Any], palette: Palette) -> dict[str, Any]:
    axis = {"labelColor": palette.ink, "titleColor": palette.ink, "labelFontSize": 11, "titleFontSize": 11}
    lines = {"gridColor": palette.faint, "domainColor": palette.faint, "tickColor": palette.faint, "gridOpacity": 0.6}
    legend = {"labelColor": palette.ink, "titleColor": palette.ink, "orient": "top", "labelFontSize": 11}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": palette.paper,
        **chart,
        "config": {
            "font": "sans-serif",
            "axis": {**axis, **lines, "titleFontWeight": "normal"},
            "legend": {**legend, "titleFontWeight": "normal"},
            "title": {"color": palette.ink, "fontSize": 12, "anchor": "start", "fontWeight": 600},
            "text": {"color": palette.ink, "fontSize": 11},
            "view": {"stroke": None},
        },
    }
