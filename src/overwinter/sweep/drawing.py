"""A picture of a sweep's front: a Vega-Lite chart, as of DVC's plots, drawn as SVG by the Vega project's vl-convert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overwinter.files import write_text
from overwinter.sweep.front import Front, FrontPoint, least_energy_mark
from overwinter.sweep.goal import QUALITY

PICTURE_FILE = "front.svg"
_TITLES = {
    "energy_per_response_j": "joules per response",
    "production_j": "joules to produce",
    "size_bytes": "bytes on disk",
}
_WIDTH, _HEIGHT = 560, 360


def draw_front(folder: Path, front: Front, others: Sequence[FrontPoint]) -> Path | None:
    """Draw the front among all points that are done; return the path of the picture.

    None if the front has fewer than two objectives or no point, or if vl-convert is not installed.

    Args:
        folder: The sweep's folder.
        front: The front.
        others: All points that are done.
    """
    if len(front.objectives) < 2 or not front.points:
        return None
    try:
        import vl_convert
    except ImportError:
        return None
    path = folder / PICTURE_FILE
    write_text(path, vl_convert.vegalite_to_svg(front_chart(front, others)))
    return path


def front_chart(front: Front, others: Sequence[FrontPoint]) -> dict[str, Any]:
    """Return the chart: the second objective to the right, the first upwards, the third as the size of a point."""
    up, right, *more = front.objectives
    kinds = {point.name: "front" for point in front.points}
    if front.least_energy is not None:
        kinds[front.least_energy] = least_energy_mark(front)
    if front.knee is not None:
        kinds[front.knee] = "knee"
    marked = [point for point in others if all(point.figures[each] is not None for each in front.objectives)]
    rows = [{**point.figures, "point": point.name, "is": kinds.get(point.name, "other")} for point in marked]
    axes = {"x": _axis(right, front), "y": _axis(up, front)}
    size = {"size": {"field": more[0], "type": "quantitative", "title": _title(more[0], front)}} if more else {}
    shown = {row["is"]: None for row in rows}
    order = [each for each in ("other", "front", *kinds.values()) if each in shown]
    scale = {"domain": list(dict.fromkeys(order)), "scheme": "tableau10"}
    colour = {"color": {"field": "is", "type": "nominal", "title": None, "scale": scale}}
    line = {"type": "line", "interpolate": "step-after", "color": "#bbbbbb"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": rows},
        "layer": [
            {"transform": [{"filter": "datum.is != 'other'"}], "mark": line, "encoding": axes},
            {"mark": {"type": "point", "filled": True, "opacity": 0.9}, "encoding": axes | colour | size},
        ],
    }


def _axis(figure: str, front: Front) -> dict[str, Any]:
    return {
        "field": figure,
        "type": "quantitative",
        "title": _title(figure, front),
        "scale": {"zero": False},
        "axis": {"format": ".4~g" if figure == QUALITY else "~s"},  # 270µ of a joule
    }


def _title(figure: str, front: Front) -> str:
    return front.headline.replace("_", " ") if figure == QUALITY else _TITLES[figure]
