"""A table on a narrow terminal loses its least important columns, and no figure is cut."""

import pytest
from rich.console import Console
from rich.table import Table

from overwinter.report.fitting import fitted

CELLS = {"stage": "train", "energy": "36.7 J ± 14.7 J", "carbon": "4.84 mgCO2e", "size": "529 kB"}


def build(without):
    table = Table()
    kept = [title for title in CELLS if title not in without]
    for title in kept:
        table.add_column(title, overflow="fold")
    table.add_row(*(CELLS[title] for title in kept))
    return table


@pytest.mark.parametrize(
    ("width", "left"), [(200, ("energy", "carbon", "size")), (42, ("energy", "size")), (30, ("energy",))]
)
def test_the_least_important_columns_go_first(width, left):
    console = Console(width=width, record=True)
    console.print(fitted(console, build, ["carbon", "size"]))
    text = console.export_text()
    assert {title for title in CELLS if CELLS[title] in text} == {"stage", *left}
    assert "…" not in text


def test_where_nothing_more_can_go_it_is_folded():
    console = Console(width=20, record=True)
    console.print(fitted(console, build, ["carbon", "size"]))
    assert "…" not in console.export_text()
