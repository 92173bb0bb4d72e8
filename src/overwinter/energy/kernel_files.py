"""Reading of small kernel files with one number or one word each."""

from __future__ import annotations

from pathlib import Path


def word(path: Path) -> str:
    """Return the file's content; empty if it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> int:
    """Return the whole number in the file.

    Raises:
        OSError, ValueError: there is none.
    """
    return int(path.read_bytes().decode("ascii").strip())


def number_or_none(path: Path) -> int | None:
    """Return the whole number in the file; None if there is none."""
    try:
        return number(path)
    except (OSError, ValueError):
        return None


def folders(root: Path) -> list[Path]:
    """Return the folders directly under ``root``, by name; empty if it cannot be listed."""
    try:
        return sorted((each for each in root.iterdir() if each.is_dir()), key=lambda each: (len(each.name), each.name))
    except OSError:
        return []
