"""The DVC plot of power.csv: one panel per device, each with its own scale and the power limit.

It is a Vega-Lite template in .dvc/plots, which dvc.yaml refers to. DVC's own templates draw one series per file, and
would join 5 W of a CPU and 0.1 W of its memory to one line. Each compared revision has its own colour, as in DVC.
The page around the plots, which .dvc/config refers to, is in `plots_page`.
"""

from __future__ import annotations

import json
from typing import Any

TEMPLATE = "power"


def _anchor(name: str) -> str:
    return f"<DVC_METRIC_{name}>"


def _line(y: str, *, of: str, **mark: Any) -> dict[str, Any]:
    field = {"field": y, "type": "quantitative", "title": _anchor("Y_LABEL")}
    return {
        "transform": [{"filter": f"isValid(datum['{of}']) && datum['{of}'] !== ''"}],  # a device without a limit
        "mark": {"type": "line", **mark},
        "encoding": {"y": field},
    }


def render_power_plot() -> str:
    """Return the text of the template."""
    content = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": _anchor("DATA")},
        "title": _anchor("TITLE"),
        "facet": {"row": {"field": "device", "type": "nominal", "title": None}},
        "spec": {
            "width": 500,
            "height": 120,
            "encoding": {
                "x": {"field": _anchor("X"), "type": "quantitative", "title": _anchor("X_LABEL")},
                "color": _anchor("COLOR"),
            },
            "layer": [
                _line(_anchor("Y"), of=_anchor("Y"), tooltip=True),
                _line("limit_w", of="limit_w", strokeDash=[4, 4], interpolate="step-after", tooltip=True),
            ],
        },
        "resolve": {"scale": {"y": "independent"}},
    }
    return json.dumps(content, indent=2) + "\n"
