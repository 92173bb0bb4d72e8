"""Size of the library, room by room: files, lines, and lines that are neither blank nor comment.

    python benchmarks/lines.py

Docstrings count as lines of code, since they are kept as code is.
"""

from __future__ import annotations

import io
import tokenize
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common import write_result

SOURCE = Path(__file__).parents[1] / "src" / "overwinter"
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Return the number of lines that hold a token other than a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    taken = (range(each.start[0], each.end[0] + 1) for each in tokens if each.type not in _NO_CODE)
    return len({line for lines in taken for line in lines})


def count() -> dict[str, dict[str, int]]:
    """Return room -> files, lines and code lines; modules on the ground floor are one room."""
    rooms: dict[str, Counter[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts, text = path.relative_to(SOURCE).parts, path.read_text()
        size = {"files": 1, "lines": text.count("\n"), "code_lines": code_lines(text)}
        rooms.setdefault(parts[0] if len(parts) > 1 else "(ground)", Counter()).update(size)
    return {room: dict(size) for room, size in sorted(rooms.items(), key=lambda item: -item[1]["lines"])}


def main() -> None:
    """Count, print, write."""
    rooms = count()
    total: Counter[str] = Counter()
    for size in rooms.values():
        total.update(size)
    table = Table("room", "files", "lines", "neither blank nor comment")
    for room, size in [*rooms.items(), ("total", total)]:
        table.add_row(room, *(f"{size[key]:,}" for key in ("files", "lines", "code_lines")))
    Console().print(table)
    write_result("lines", {"rooms": rooms, "total": dict(total)})


if __name__ == "__main__":
    main()
