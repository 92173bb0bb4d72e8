"""No stage runs twice, none twice at once, and every point comes to its turn."""

from hypothesis import given
from hypothesis import strategies as st

from overwinter.sweep.scheduling import Schedule, shared_stages

STAGES = ("train", "sparsify", "quantize", "evaluate")


def keys_of(choices):
    """Return a point's keys: each stage's depends on all choices up to it."""
    return {stage: "/".join(map(str, choices[: place + 1])) for place, stage in enumerate(STAGES)}


choices = st.tuples(*[st.integers(0, 2)] * len(STAGES))
sweeps = st.lists(choices, min_size=1, max_size=14, unique=True).map(lambda each: [keys_of(one) for one in each])


def played(points, workers, chance, fails=frozenset()):
    """Play a sweep with workers that take random turns; return the stages that ran, in the order of their starts."""
    schedule, done, ran, at, working = Schedule(points), set(), [], {}, set()
    while schedule.waiting or at:
        while len(at) < workers and (point := schedule.next()) is not None:
            if schedule.failed_before(point):
                schedule.drop(point)
                continue
            schedule.start(point)
            at[point] = 0
        if not at:
            assert not schedule.waiting, "points wait, and none of them may start"
            break
        point = chance.choice(sorted(at))
        place = at[point]
        keys = points[point]
        if place:  # the stage before has just been committed
            working.discard(keys[STAGES[place - 1]])
            done.add(keys[STAGES[place - 1]])
            schedule.commit(point, STAGES[:place])
        if place == len(STAGES):
            schedule.end(point)
            del at[point]
            continue
        key = keys[STAGES[place]]
        if key not in done:
            assert key not in working, f"{key} runs twice at once"
            ran.append(key)
            if key in fails:
                schedule.end(point, STAGES[place])
                del at[point]
                continue
            working.add(key)
        at[point] = place + 1
    return ran


@given(sweeps, st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_distinct_stage_runs_once_whatever_the_workers_do(points, workers, chance):
    ran = played(points, workers, chance)
    assert sorted(ran) == sorted({key for keys in points for key in keys.values()})


@given(sweeps, st.integers(1, 5), st.randoms(use_true_random=False), st.data())
def test_a_stage_that_failed_is_not_tried_again_and_the_others_go_on(points, workers, chance, data):
    every = sorted({key for keys in points for key in keys.values()})
    fails = frozenset(data.draw(st.sets(st.sampled_from(every), max_size=2)))
    ran = played(points, workers, chance, fails)
    reachable = {key for key in every if not any(key != bad and key.startswith(f"{bad}/") for bad in fails)}
    assert sorted(ran) == sorted(reachable)


def test_points_that_share_stages_follow_each_other():
    points = [keys_of(each) for each in ((0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0))]
    assert Schedule(points).waiting == [0, 2, 3, 1]


def test_two_workers_begin_with_points_that_share_nothing():
    points = [keys_of(each) for each in ((0, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0))]
    schedule = Schedule(points)
    assert schedule.next() == 0
    schedule.start(0)
    assert schedule.next() == 2
    schedule.start(2)
    assert schedule.next() is None
    schedule.commit(0, ["train"])
    assert schedule.next() is None  # they also share sparsify
    schedule.commit(0, ["train", "sparsify"])
    assert schedule.next() == 1


def test_a_point_whose_worker_died_is_the_next_one():
    points = [keys_of(each) for each in ((0, 0, 0, 0), (1, 0, 0, 0))]
    schedule = Schedule(points)
    schedule.start(0)
    schedule.put_back(0)
    assert schedule.next() == 0


def test_what_a_running_point_runs_is_paid_for():
    schedule = Schedule([keys_of((0, 0, 0, 0)), keys_of((0, 0, 1, 0))])
    schedule.start(0)
    assert schedule.paid_for >= {"0", "0/0"}


def test_shared_stages_count_from_the_first():
    assert shared_stages(keys_of((0, 1, 0, 0)), keys_of((0, 1, 1, 0))) == 2
    assert shared_stages({}, keys_of((0, 1, 1, 0))) == 0
