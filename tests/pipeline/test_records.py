"""What energy.json holds beside the meter's figures: grid, mix, what a source left out, and which execution it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from overwinter.carbon import Intensity
from overwinter.pipeline.records import energy_record
from overwinter.pipeline.watch import Spent, Watch


def _report(energy_j: float, warnings: list[str]) -> Any:
    return SimpleNamespace(energy_j=energy_j, to_json=lambda: {"energy_j": energy_j, "warnings": warnings})


def _intensity(share: float | None = None) -> Intensity:
    return Intensity(g_per_kwh=100.0, source="uk_grid", kind="average", renewable_share=share)


def test_the_mix_and_what_was_left_out_stand_beside_the_intensity() -> None:
    stage: Any = SimpleNamespace(name="train", control=None, resumed=None)
    notes = ("uk_grid: 1 of 96 rows of the forecast are left out",)
    spent = Spent(report=_report(5.0, ["short"]), carbon_g=1.0, intensity=_intensity(0.4), notes=notes)
    record = energy_record(stage, spent, execution="id-1")
    assert (record["renewable_share"], record["execution"]) == (0.4, "id-1")
    assert record["warnings"] == ["short", *notes]


def test_the_watch_keeps_each_note_once_also_of_a_source_that_has_none() -> None:
    meter: Any = SimpleNamespace(read=lambda: _report(1.0, []), close=lambda: _report(2.0, []))
    told = iter([("a",), ("a", "b"), ()])

    class Source:
        notes = property(lambda self: next(told))

        def at(self, time_utc: Any) -> Intensity:
            return _intensity()

    watch = Watch(meter, Source(), lambda spent: None)
    assert watch.latest.notes == ("a",)
    assert watch.close().notes == ("a", "b")
    plain: Any = SimpleNamespace(at=lambda time_utc: _intensity())
    assert Watch(meter, plain, lambda spent: None).close().notes == ()
