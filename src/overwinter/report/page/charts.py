"""The charts of a report, as Vega-Lite: one function each, of the content, a width and a palette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from overwinter.report.page.content import Candidate, CurvePoint, ReportContent
from overwinter.report.page.drawing import Palette
from overwinter.report.page.flow import Flow, Node, lay_out
from overwinter.units import format_si

if TYPE_CHECKING:
    from overwinter.report.page.ledger_report import LedgerReport

Chart = dict[str, Any]
_MARGIN = 58  # of axes and their titles, in pixels
_GROUPS = 15  # of a ledger's report that are drawn
_NARROW = 480  # below it, labels are short
_LOGARITHMIC = 8.0  # ratio of the largest to the smallest joules above which their axis is logarithmic


def flow_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return the flow of energy from stages to devices; modelled joules are pale with a dashed edge."""
    flow = lay_out(content.stages)
    if flow is None:
        return None
    colours = _colours([node.name for node in flow.devices], palette)
    reach = 0.95 if width < _NARROW else 0.55  # room for labels on both sides, as a share of the ribbons' width
    scale = {"x": {"domain": [-reach, 1 + reach]}, "y": {"domain": [flow.height, -2]}}
    x = {"type": "quantitative", "axis": None, "scale": {**scale["x"], "nice": False, "zero": False}}
    y = {"type": "quantitative", "axis": None, "scale": {**scale["y"], "nice": False, "zero": False}}
    return {
        "width": width - 12,
        "height": flow.height,
        "resolve": {"scale": {"color": "independent"}},
        "layer": [
            *(_ribbon_layer(flow, x, y, colours, measured=measured) for measured in (True, False)),
            _node_layer(flow.stages, x, y, {node.name: palette.ink for node in flow.stages}, begin=-0.02),
            _node_layer(flow.devices, x, y, colours, begin=1.0),
            *_label_layers(flow.stages, x, y, place=-0.03, align="right"),
            *_label_layers(flow.devices, x, y, place=1.03, align="left"),
        ],
    }


def power_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return power over time, a row for each device with its limit dashed, and the carbon intensity if it varies."""
    samples = content.power
    if not samples:
        return None
    ends: list[Chart] = []
    end_s = 0.0
    for stage in content.stages:
        ends.append({"time_s": end_s, "stage": stage.stage, "odd": len(ends) % 2})
        end_s += stage.duration_s or 0.0
    ticks = {"tickCount": width // 90}
    x = _quantity("time_s", "seconds, the stages end to end", scale={"domain": [0, end_s], "nice": False}, axis=ticks)
    rows = []
    for place, device in enumerate(dict.fromkeys(sample.device for sample in samples)):
        values = [
            {"time_s": each.time_s, "power_w": each.power_w, "limit_w": each.limit_w, "stage": each.stage}
            for each in samples
            if each.device == device
        ]
        rows.append(_power_row(values, ends, device, palette.series[place % len(palette.series)], x, palette, width))
    carbon = [each for each in samples if each.intensity_g_per_kwh is not None]
    if len({each.intensity_g_per_kwh for each in carbon}) > 1:
        steps = [{"time_s": each.time_s, "intensity": each.intensity_g_per_kwh} for each in carbon]
        y = _quantity("intensity", "gCO2e per kWh", scale={"zero": False})
        line = {"type": "line", "interpolate": "step-after", "color": palette.series[5]}
        rows.append(
            {"data": {"values": steps}, "mark": line, "encoding": {"x": x, "y": y}, **_size(width, 70)}
            | {"title": "carbon intensity"}
        )
    return {"vconcat": rows, "spacing": 14}


def curve_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return what stages reported, a row for each figure, over the joules of the pipeline so far."""
    if not content.curves:
        return None
    names = dict.fromkeys(name for point in content.curves for name in point.figures if name != "epoch")
    shown = [name for name in names if len({point.figures.get(name) for point in content.curves}) > 1]
    stages = list(dict.fromkeys(point.stage for point in content.curves))
    rows = [_curve_row(content.curves, name, stages, width, palette) for name in shown]
    return {"vconcat": rows, "spacing": 14} if rows else None


def candidate_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return joules per response and quality of every candidate, each with its interval."""
    if content.responses is None:
        return None
    rows = [_candidate_row(each) for each in content.responses.candidates]
    energies = [each.energy_per_response_j for each in content.responses.candidates]
    logarithmic = min(energies) > 0 and max(energies) / min(energies) > _LOGARITHMIC
    scale = {"type": "log" if logarithmic else "linear", "zero": not logarithmic, "nice": True}
    title = "J per response, logarithmic" if logarithmic else "J per response"
    ticks = {"tickCount": 4 if width >= _NARROW else 3, "labelOverlap": "greedy", "labelSeparation": 8}
    parts = [_interval_part(rows, "energy", title, {"scale": scale, "axis": {"format": "~s", **ticks}}, palette)]
    if any(row["quality"] is not None for row in rows):
        form = ".1%" if content.responses.per_cent else "~g"
        axis = {"scale": {"zero": False, "nice": True}, "axis": {"format": form, **ticks}}
        parts.append(_interval_part(rows, "quality", content.responses.headline, axis, palette))
    labels = 170 if width >= _NARROW else 150
    if width < _NARROW:
        sized = [{**part, **_size(width - labels + _MARGIN, 24 * len(rows))} for part in parts]
        return {"vconcat": sized, "spacing": 16}
    inner = (width - labels - 30) / len(parts)
    sized = [{**part, "width": inner, "height": 26 * len(rows)} for part in parts]
    for part in sized[1:]:
        for layer in part["layer"]:
            layer["encoding"]["y"] = {
                **layer["encoding"]["y"],
                "axis": {"labels": False, "ticks": False, "title": None},
            }
    return {"hconcat": sized, "spacing": 16}


def front_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return the points of the latest sweep: quality against joules per response."""
    if content.sweep is None:
        return None
    known = [each for each in content.sweep.points if each.quality is not None and each.energy_per_response_j]
    if not known:
        return None
    rows = [
        {
            "point": f"{each.name} {each.settings}",
            "quality": each.quality,
            "energy": each.energy_per_response_j,
            "is": each.mark or "other",
        }
        for each in known
    ]
    marks = dict.fromkeys(str(row["is"]) for row in rows)
    order: list[str] = [mark for mark in ("other", "front") if mark in marks]
    order += [mark for mark in marks if mark not in order]
    colours = {"other": palette.faint, "front": palette.series[0], "knee": palette.series[1]}
    domain = {"domain": order, "range": [colours.get(mark, palette.good) for mark in order]}
    encoding = {
        "x": _quantity("energy", "J per response", scale={"zero": False}, axis={"format": "~s", "tickCount": 5}),
        "y": _quantity("quality", content.headline or "quality", scale={"zero": False}),
        "color": {"field": "is", "type": "nominal", "title": None, "scale": domain},
    }
    line = {
        "transform": [{"filter": "datum.is != 'other'"}],
        "mark": {"type": "line", "interpolate": "step-after", "color": palette.series[0], "opacity": 0.5},
        "encoding": {"x": encoding["x"], "y": encoding["y"]},
    }
    points = {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": encoding}
    return {"data": {"values": rows}, "layer": [line, points], **_size(width, 260)}


def group_chart(report: LedgerReport, width: int, palette: Palette) -> Chart:
    """Return the energy of the largest groups of a ledger's report, by what it was used for."""
    parts = {"in use": palette.good, "wasted": palette.series[1], "served": palette.series[0]}
    parts |= {"measured commands": palette.series[5], "watched scripts": palette.series[3]}
    rows = [
        {"group": ", ".join(each.keys), "part": part, "kwh": amount, "order": place}
        for each in report.groups[:_GROUPS]
        for place, (part, amount) in enumerate(
            (
                ("in use", each.pipeline_kwh - each.wasted_kwh),
                ("wasted", each.wasted_kwh),
                ("served", each.served_kwh),
                ("measured commands", each.commands_kwh),
                ("watched scripts", each.scripts_kwh),
            )
        )
    ]
    used = {row["part"] for row in rows if row["kwh"]}
    parts = {part: colour for part, colour in parts.items() if part in used}
    names = [", ".join(each.keys) for each in report.groups[:_GROUPS]]
    axis = {"labelLimit": 200 if width >= _NARROW else 120}
    scale = {"domain": list(parts), "range": list(parts.values())}
    return {
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "group", "type": "nominal", "sort": names, "title": None, "axis": axis},
            "x": _quantity("kwh", "kWh", axis={"tickCount": width // 110, "format": "~g"}),
            "color": {
                "field": "part",
                "type": "nominal",
                "title": None,
                "scale": scale,
                "legend": {"columns": 5 if width >= _NARROW else 2},
            },
            "order": {"field": "order", "type": "quantitative"},
        },
        "width": width - axis["labelLimit"] - 30,
        "height": 22 * len(names),
    }


def state_chart(content: ReportContent, width: int, palette: Palette) -> Chart | None:
    """Return the share of the time that each served model spent in each state."""
    rows = [
        {"model": each.name, "state": state, "share": spent_s / whole_s, "order": place}
        for each in content.served
        if (whole_s := sum(each.state_s.values())) > 0
        for place, (state, spent_s) in enumerate(each.state_s.items())
    ]
    if not rows:
        return None
    states = list(dict.fromkeys(str(row["state"]) for row in rows))
    colours = dict(zip(states, (palette.series[1], *palette.series[2:], palette.series[0]), strict=False))
    scale = {"domain": states, "range": list(colours.values())}
    columns = len(states) if width >= _NARROW else 3
    return {
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "model", "type": "nominal", "title": None, "axis": {"labelLimit": 110}},
            "x": _quantity("share", "share of the time", axis={"format": "%", "tickCount": width // 110}),
            "color": {
                "field": "state",
                "type": "nominal",
                "title": None,
                "scale": scale,
                "legend": {"columns": columns},
            },
            "order": {"field": "order", "type": "quantitative"},
        },
        "width": width - 130,
        "height": 24 * len(content.served),
    }


CHARTS: dict[str, Callable[[ReportContent, int, Palette], Chart | None]] = {
    "flow": flow_chart,
    "power": power_chart,
    "curves": curve_chart,
    "candidates": candidate_chart,
    "front": front_chart,
    "states": state_chart,
}


def _ribbon_layer(flow: Flow, x: Chart, y: Chart, colours: dict[str, str], *, measured: bool) -> Chart:
    values = [
        {"x": place, "low": low, "high": high, "name": f"{each.stage} {each.device}", "device": each.device}
        for each in flow.ribbons
        if each.measured is measured
        for place, low, high in each.edges
    ]
    edge = {} if measured else {"line": {"strokeDash": [4, 3], "strokeWidth": 1, "opacity": 0.9}}
    return {
        "data": {"values": values},
        "mark": {"type": "area", "opacity": 0.75 if measured else 0.28, **edge},
        "encoding": {
            "x": {**x, "field": "x"},
            "y": {**y, "field": "low"},
            "y2": {"field": "high"},
            "detail": {"field": "name"},
            "color": _coloured("device", colours),
        },
    }


def _node_layer(nodes: Sequence[Node], x: Chart, y: Chart, colours: dict[str, str], *, begin: float) -> Chart:
    values = [
        {"begin": begin, "end": begin + 0.02, "low": node.low, "high": node.high, "name": node.name} for node in nodes
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {**x, "field": "begin"},
            "x2": {"field": "end"},
            "y": {**y, "field": "low"},
            "y2": {"field": "high"},
            "color": _coloured("name", colours),
        },
    }


def _label_layers(nodes: Sequence[Node], x: Chart, y: Chart, *, place: float, align: str) -> list[Chart]:
    values = [
        {
            "x": place,
            "y": node.middle,
            "name": node.name,
            "amount": f"{format_si(node.energy_j, 'J')} ± {format_si(node.uncertainty_j, 'J')}",
        }
        for node in nodes
    ]
    encoding = {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}}
    return [
        {
            "data": {"values": values},
            "mark": {"type": "text", "align": align, "baseline": "middle", "dy": dy, "fontWeight": weight},
            "encoding": {**encoding, "text": {"field": field}},
        }
        for field, dy, weight in (("name", -7, 600), ("amount", 7, "normal"))
    ]


def _power_row(
    values: Sequence[Chart], ends: Sequence[Chart], device: str, colour: str, x: Chart, palette: Palette, width: int
) -> Chart:
    y = _quantity("power_w", "W", scale={"zero": True}, axis={"tickCount": 4})
    limited = [each for each in values if each["limit_w"] is not None]
    limit = {"type": "line", "strokeDash": [5, 4], "interpolate": "step-after", "color": palette.ink}
    layers: list[Chart] = [
        {
            "data": {"values": ends},
            "mark": {"type": "rule", "color": palette.faint},
            "encoding": {"x": x},
        },
        {
            "data": {"values": values},
            "mark": {"type": "line", "color": colour, "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y, "detail": {"field": "stage"}},
        },
    ]
    if limited:
        layers.append(
            {"data": {"values": limited}, "mark": limit, "encoding": {"x": x, "y": {**y, "field": "limit_w"}}}
        )
    layers += _stage_labels(ends, x, apart=width < _NARROW)
    return {"layer": layers, "title": {"text": device, "offset": 28 if width < _NARROW else 16}, **_size(width, 100)}


def _stage_labels(ends: Sequence[Chart], x: Chart, *, apart: bool) -> list[Chart]:
    """Return the stages' names above their beginnings; ``apart`` raises every other one, where they would overlap."""
    mark = {"type": "text", "align": "left", "dx": 3, "baseline": "bottom", "fontSize": 10}
    rows = ([each for each in ends if not each["odd"]], [each for each in ends if each["odd"]]) if apart else (ends,)
    return [
        {
            "data": {"values": list(row)},
            "mark": {**mark, "dy": -4 - 11 * place},
            "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "stage"}},
        }
        for place, row in enumerate(rows)
    ]


def _curve_row(points: Sequence[CurvePoint], name: str, stages: Sequence[str], width: int, palette: Palette) -> Chart:
    values = [
        {"energy": each.pipeline_j, "value": each.figures[name], "stage": each.stage}
        for each in points
        if name in each.figures
    ]
    colours = dict(zip(stages, palette.series * len(stages), strict=False))
    x = _quantity(
        "energy", "joules of the pipeline so far", scale={"zero": True}, axis={"format": "~s", "tickCount": width // 90}
    )
    y = _quantity("value", None, scale={"zero": False}, axis={"tickCount": 4})
    return {
        "data": {"values": values},
        "title": name.replace("_", " "),
        "mark": {"type": "line", "strokeWidth": 1.8},
        "encoding": {"x": x, "y": y, "color": {**_coloured("stage", colours), "legend": {"title": None}}},
        **_size(width, 110),
    }


def _candidate_row(each: Candidate) -> Chart:
    return {
        "name": each.name,
        "is": each.role or "other",
        "energy": each.energy_per_response_j,
        "energy_low": each.energy_per_response_low_j,
        "energy_high": each.energy_per_response_high_j,
        "quality": each.quality,
        "quality_low": each.quality_low,
        "quality_high": each.quality_high,
    }


def _interval_part(rows: Sequence[Chart], figure: str, title: str, axis: Chart, palette: Palette) -> Chart:
    colours = {"chosen": palette.good, "dense": palette.series[1], "other": palette.series[0]}
    y: Chart = {"field": "name", "type": "nominal", "sort": [row["name"] for row in rows], "title": None}
    y["axis"] = {"labelLimit": 160, "grid": True}
    x = {"field": figure, "type": "quantitative", "title": title, **axis}
    colour = {**_coloured("is", colours), "legend": None}
    rule = {"x": {**x, "field": f"{figure}_low"}, "x2": {"field": f"{figure}_high"}, "y": y, "color": colour}
    return {
        "data": {"values": [row for row in rows if row[figure] is not None]},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.55}, "encoding": rule},
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour},
            },
        ],
    }


def _quantity(field: str, title: str | None, **more: Any) -> Chart:
    return {"field": field, "type": "quantitative", "title": title, **more}


def _coloured(field: str, colours: dict[str, str]) -> Chart:
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _colours(names: Sequence[str], palette: Palette) -> dict[str, str]:
    return {name: palette.series[place % len(palette.series)] for place, name in enumerate(names)}


def _size(width: int, height: int) -> Chart:
    return {"width": width - _MARGIN, "height": height}
