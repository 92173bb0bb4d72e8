"""Headless Chromium (Debian's `chromium`), without a network."""

import shutil
import subprocess
from pathlib import Path

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
needs_browser = pytest.mark.skipif(_CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


def open_page(page: Path) -> subprocess.CompletedProcess[str]:
    """Open a page, and return what it became (stdout) and what it said to the console (stderr)."""
    return subprocess.run(
        [_CHROMIUM, *_QUIET, f"--user-data-dir={page.parent / 'browser'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
