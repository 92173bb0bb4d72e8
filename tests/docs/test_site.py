"""The documentation builds as a site, without a warning, and its generated pages hold what they are made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings, library = ((tmp_path / "reference" / f"{name}.html").read_text() for name in ("settings", "library"))
    assert "sparsify=magnitude" in settings
    assert "share of the prunable weights" in settings
    assert 'id="overwinter.energy.open_meter"' in library  # what a room loads on first use is there too
    assert 'id="overwinter.quantization.apply_recipe"' in library
