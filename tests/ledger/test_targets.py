"""Joules to a target."""

from overwinter.ledger import to_targets


def metrics(reached=True, **more):
    return {"accuracy": 0.912, "epochs": 3, "to": {"accuracy": 0.91}, "reached": reached, **more}


def test_the_cheapest_way_to_a_target_comes_first_and_what_missed_it_last(record):
    found = to_targets(
        [
            record(id="dear", energy_j=90.0, metrics=metrics()),
            record(id="missed", energy_j=5.0, metrics=metrics(reached=False, accuracy=0.8)),
            record(id="cheap", energy_j=30.0, metrics=metrics()),
            record(id="other", energy_j=1.0, metrics=metrics(to={"accuracy": 0.95})),
        ]
    )
    assert [each.id for each in found] == ["cheap", "dear", "missed", "other"]
    assert [(each.found, each.reached) for each in found][2] == (0.8, False)


def test_what_was_resumed_counts(record):
    (found,) = to_targets(
        [record(energy_j=10.0, resumed_j=5.0, duration_s=2.0, resumed_duration_s=1.0, metrics=metrics())]
    )
    assert (found.energy_j, found.duration_s) == (15.0, 3.0)


def test_trainings_without_a_target_and_unfinished_ones_are_left_out(record):
    assert not to_targets([record(metrics={"accuracy": 0.9}), record(metrics=None)])
    assert not to_targets([record(status="failed", metrics=metrics())])


def test_unknown_joules_stay_unknown(record):
    assert to_targets([record(energy_j=None, duration_s=None, metrics=metrics())])[0].energy_j is None
