"""Rendering of a report: one HTML file with everything in it, and its charts as files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.report.page.charts import CHARTS, group_chart
from overwinter.report.page.content import ReportContent
from overwinter.report.page.drawing import ON_PAGE, ON_PAPER, is_available, require_available, svg_of, write_figure
from overwinter.units import format_bytes, format_duration, format_si

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from overwinter.report.page.ledger_report import LedgerReport

_CODE = re.compile(r"`([^`]+)`")
_WIDE, _NARROW = 820, 328  # of charts, in pixels: for a screen and for a phone
_DAYS_PER_YEAR, _S_PER_DAY, _LEAST_DAYS = 365.0, 86400.0, 2.0
_FILE_WIDTH = 820


def render_page(content: ReportContent) -> str:
    """Return the page; without vl-convert it has no charts and says so."""
    charts = {}
    if is_available():
        charts = {name: _both_widths(content, name) for name in CHARTS}
    template = environment().get_template("report.html.j2")
    return template.render(
        content=content, charts={name: each for name, each in charts.items() if each}, style=_style()
    )


def render_ledger(report: LedgerReport) -> str:
    """Return the page of a ledger's report."""
    chart = {}
    if is_available() and report.by and report.groups:
        drawn = {"wide": group_chart(report, _WIDE, ON_PAGE), "narrow": group_chart(report, _NARROW, ON_PAGE)}
        chart = {width: svg_of(each, ON_PAGE) for width, each in drawn.items()}
    return environment().get_template("ledger.html.j2").render(report=report, chart=chart, style=_style())


def write_figures(content: ReportContent, folder: Path) -> list[Path]:
    """Write every chart as SVG and PNG into a folder, and return the paths of the SVG files.

    Raises:
        ConfigError: vl-convert is not installed.
        OSError: the folder cannot be written.
    """
    require_available()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in CHARTS.items():
        if (chart := make(content, _FILE_WIDTH, ON_PAPER)) is not None:
            write_figure(folder / name, chart)
            written.append(folder / f"{name}.svg")
    return written


def environment() -> Environment:
    """Return the environment of the templates: everything is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {**FORMATS, "prose": prose}
    made.globals["infinity"] = math.inf
    return made


def prose(text: str) -> Markup:
    """Return a text as HTML, with what stands in backquotes as code."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped


def _style() -> str:
    return (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def _both_widths(content: ReportContent, name: str) -> Mapping[str, str]:
    """Return a chart for a screen and for a phone."""
    make = CHARTS[name]
    drawn = {"wide": make(content, _WIDE, ON_PAGE), "narrow": make(content, _NARROW, ON_PAGE)}
    return {width: svg_of(chart, ON_PAGE) for width, chart in drawn.items() if chart is not None}


def _joules(value: float) -> str:
    return format_si(value, "J")


def _grams(value: float) -> str:
    return format_si(value, "gCO2e")


def _days(days: float) -> str:
    """Return a number of days in years, days or hours."""
    if days >= 2 * _DAYS_PER_YEAR:
        return f"{days / _DAYS_PER_YEAR:.2g} years"
    return f"{days:.0f} days" if days >= _LEAST_DAYS else format_duration(days * _S_PER_DAY)


def _share(value: float) -> str:
    """Return a share in per cent, with more digits near 0 and 100 %."""
    percent = 100 * value
    near = 0 < abs(percent) < 10 or 98 < abs(percent) < 100
    return f"{percent:.1f} %" if near else f"{percent:.0f} %"


def _measure(value: float) -> str:
    return f"{value:.4g}"


def amount(value: float) -> str:
    """Return kilowatt-hours or kilograms, with three digits and without an exponent."""
    if 0 < abs(value) < 1e-4:
        return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _estimate(value: float) -> str:
    """Return a number that is known to two or three digits at best."""
    return _count(float(f"{value:.3g}"))


FORMATS: dict[str, Any] = {
    "joules": _joules,
    "grams": _grams,
    "share": _share,
    "count": _count,
    "estimate": _estimate,
    "measure": _measure,
    "amount": amount,
    "duration": format_duration,
    "days": _days,
    "bytes": format_bytes,
}
"""What makes a figure text, by the name that templates and the page's `data-format` use."""
