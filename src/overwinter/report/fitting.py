"""Tables on narrow terminals: the least important columns are left out, so that no figure is truncated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ANY_WIDTH = 10_000


def fitted(console: Console, build: Callable[[Collection[str]], Table], droppable: Sequence[str]) -> Table:
    """Return a table that fits the console's width, if leaving out the droppable columns is enough.

    Args:
        console: The console.
        build: A function that makes the table without the named columns.
        droppable: Columns to leave out, the least important first.
    """
    unbounded = console.options.update_width(_ANY_WIDTH)
    for count in range(len(droppable) + 1):
        table = build(droppable[:count])
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return table
