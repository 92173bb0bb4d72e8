"""The README's picture is what benchmarks/picture.py draws from results/picture.json, and the README shows it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("vl_convert")


def test_the_picture_is_drawn_from_the_results(load_benchmark):
    program = load_benchmark("picture")
    drawn = program.picture()
    assert drawn == program.PICTURE.read_text(encoding="utf-8")
    kept = json.loads((ROOT / "benchmarks/results/picture.json").read_text())
    labels = " ".join(re.findall(r">([^<]+)</text>", drawn))
    assert all(each["name"] in labels for each in kept["responses"]["candidates"])


def test_the_readme_shows_it():
    assert "](docs/run.svg)" in (ROOT / "README.md").read_text()
