"""The judge of the searches: its hypervolume counts cells, and its record is of the committed table."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("optuna")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def program():
    from tests.benchmarks.conftest import BENCHMARKS

    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(BENCHMARKS))
    import search

    yield search
    patch.undo()


@given(points=st.integers(1, 3).flatmap(lambda size: st.lists(st.tuples(*[st.integers(0, 5)] * size), min_size=1)))
def test_the_hypervolume_counts_the_cells_that_a_point_dominates(program, points):
    losses = np.array(points, dtype=float)
    cells = product(range(5), repeat=losses.shape[1])
    counted = sum(
        any(all(own <= place for own, place in zip(point, cell, strict=True)) for point in points) for cell in cells
    )
    assert program.hypervolume(losses, np.full(losses.shape[1], 5.0)) == counted


def test_the_record_is_of_the_committed_table(program):
    table = json.loads((RESULTS / "search_table.json").read_text())["points"]
    assert len({tuple(point[key] for key in program.KEYS) for point in table}) == len(table) == 240
    for row in json.loads((RESULTS / "search.json").read_text())["comparisons"]:
        ground = program.Ground(points=table, objectives=tuple(row["objectives"]))
        assert row["hypervolume_of_the_table"] == pytest.approx(ground.whole)
        assert ground.share(range(240)) == pytest.approx(1.0)
        assert row["nsga2"]["all"][0] == pytest.approx(ground.searched("nsga2", 0), abs=1e-5)
