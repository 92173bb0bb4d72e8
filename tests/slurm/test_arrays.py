"""Job arrays along the prefix tree: each program is submitted once, and waits for its own predecessor."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.slurm.arrays import job_name, next_arrays
from overwinter.slurm.programs import make_programs
from tests.slurm.test_programs import POINTS, made, nothing

LARGEST = 7


def submitted(programs, largest=LARGEST, places=()):
    """Submit everything, as submitit numbers jobs; return where each is, and what Slurm lets each wait for."""
    places, waits, calls = dict(places), {}, 0
    while arrays := next_arrays(programs, places, largest=largest):
        for array in arrays:
            calls += 1
            kind, _, job = (array.dependency(places) or "").partition(":")
            for number, program in enumerate(array.programs):
                assert program.id not in places
                waits[program.id] = f"{job}_{number}" if kind == "aftercorr" else job
                places[program.id] = (str(calls), number if len(array.programs) > 1 else None)
    return places, waits, calls


@given(POINTS)
def test_each_program_is_submitted_once_and_waits_for_its_predecessor(points):
    programs = make_programs(points, ended=(), is_done=nothing)
    places, waits, _ = submitted(programs)
    assert set(places) == set(programs)
    for program in programs.values():
        assert waits[program.id] == ("" if program.after is None else job_name(places[program.after]))


@given(POINTS, st.data())
def test_what_is_in_the_queue_already_is_not_submitted_again(points, data):
    programs = make_programs(points, ended=(), is_done=nothing)
    places, _, _ = submitted(programs)
    kept = data.draw(st.sets(st.sampled_from(sorted(places))))
    there = {each: places[each] for each in kept}
    again, waits, _ = submitted(programs, places=there)
    assert set(again) == set(programs)
    assert set(waits) == set(programs) - kept


@pytest.mark.parametrize(("grid", "most"), [((10, 10, 10), 222), ((1, 1, 50), 6), ((50, 1, 1), 6)])
def test_a_grid_needs_few_submissions(grid, most):
    points = [made(each) for each in product(*(range(count) for count in grid))]
    _, _, calls = submitted(make_programs(points, ended=(), is_done=nothing), largest=1000)
    assert calls <= most


def test_no_array_is_larger_than_slurm_allows():
    points = [made(each) for each in product(range(5), range(5), range(2))]
    programs = make_programs(points, ended=(), is_done=lambda stage, key: stage != "quantize")
    arrays = next_arrays(programs, {}, largest=LARGEST)
    assert max(len(array.programs) for array in arrays) <= LARGEST
    assert sum(len(array.programs) for array in arrays) == len(points)
