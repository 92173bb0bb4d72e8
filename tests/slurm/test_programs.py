"""Each distinct stage and gate of a sweep is one program, behind the one that it waits for."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from overwinter.slurm.programs import make_programs, program_ids
from overwinter.sweep.points import Point

STAGES = ("train", "sparsify", "quantize")


def made(choices):
    keys, parts = {}, []
    for stage, choice in zip(STAGES, choices, strict=True):
        parts.append(str(choice))
        keys[stage] = f"{'-'.join(parts)}-{stage}"
    return Point(name="".join(parts), overrides=(), params="", config=None, keys=keys)


def nothing(stage, key):
    return False


POINTS = st.lists(st.tuples(*[st.integers(0, 2)] * len(STAGES)), min_size=1, max_size=20, unique=True).map(
    lambda chosen: [made(each) for each in chosen]
)


@given(POINTS)
def test_each_stage_and_gate_is_one_program_and_follows_what_it_needs(points):
    programs = make_programs(points, ended=(), is_done=nothing)
    assert set(programs) == {each for point in points for each in program_ids(point)}
    seen = set()
    for id_, program in programs.items():
        assert program.after is None or program.after in seen
        seen.add(id_)
    for point in points:
        ids = program_ids(point)
        assert [programs[each].after for each in ids] == [None, *ids[:-1]]
        assert point in programs[ids[-1]].last_of
    assert sum(len(each.last_of) for each in programs.values()) == len(points)


@given(POINTS, st.sets(st.sampled_from(STAGES)))
def test_what_is_done_has_no_program_but_each_point_is_saved(points, done):
    programs = make_programs(points, ended=(), is_done=lambda stage, key: stage in done)
    assert {each.stage for each in programs.values() if not each.last_of}.isdisjoint(done)
    assert sum(len(each.last_of) for each in programs.values()) == len(points)
    assert all(each.after is None or each.after in programs for each in programs.values())


def test_a_program_that_has_ended_is_waited_for_by_none():
    point = made((0, 0, 0))
    ids = program_ids(point)
    programs = make_programs([point], ended=ids[:3], is_done=nothing)
    assert list(programs) == ids[3:]
    assert programs[ids[3]].after is None


def test_points_whose_last_stage_is_the_same_are_saved_by_one_program():
    keys = {"train": "a" * 20}
    points = [Point(name=name, overrides=(), params="", config=None, keys=keys) for name in "ab"]
    programs = make_programs(points, ended=(), is_done=nothing)
    assert [len(each.last_of) for each in programs.values()] == [0, 2]


def test_a_grid_of_twelve_points_has_each_program_once():
    points = [made(each) for each in product(range(2), range(2), range(3))]
    programs = make_programs(points, ended=(), is_done=nothing)
    count = {stage: sum(each.name == stage for each in programs.values()) for stage in STAGES}
    assert count == {"train": 2, "sparsify": 4, "quantize": 12}
