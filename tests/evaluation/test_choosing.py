import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from overwinter.errors import OverwinterError
from overwinter.evaluation import Candidate, Quality, choose
from overwinter.tasks import Measure

SIMPLICITY = {"dense": 0, "input_file": 1, "as_given": 2, "sparse": 3, "int8_static": 4, "int8_dynamic": 5}
GIVEN = ("input_file", "as_given")


def candidate(variant, energy_j, spread_j=0.1, *, quality=0.98, runtime="torch", broken_limits=()):
    interval = (energy_j - spread_j, energy_j + spread_j)
    return Candidate(
        variant=variant,
        runtime=runtime,
        simplicity=SIMPLICITY[variant],
        size_bytes=1000,
        quality=Quality(
            headline=Measure(name="accuracy"),
            figures={"accuracy": quality},
            interval=(quality, quality),
            loss_interval=(0.0, 0.0),
            broken_limits=broken_limits,
        ),
        cost=SimpleNamespace(energy_per_response_j=energy_j, energy_per_response_ci_j=interval),
    )


def test_the_fewest_joules_win():
    candidates = [candidate("dense", 10), candidate("sparse", 7), candidate("int8_static", 4)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.variant, choice.dense.energy_j, choice.pays) == ("int8_static", 10, True)
    assert choice.saving == pytest.approx(0.6)


def test_among_overlapping_intervals_the_simpler_variant_wins():
    choice = choose(
        [candidate("dense", 10), candidate("sparse", 4.1), candidate("int8_static", 4)], max_quality_loss=0.01
    )
    assert choice.chosen.variant == "sparse"


def test_a_simpler_variant_that_does_not_beat_dense_itself_is_not_taken_for_one_that_does():
    candidates = [candidate("dense", 10, 0.5), candidate("sparse", 9.2, 1), candidate("int8_static", 8.5, 0.5)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.variant, choice.pays) == ("int8_static", True)


def test_where_dense_overlaps_nothing_pays():
    choice = choose([candidate("dense", 10, 1), candidate("int8_static", 9, 1)], max_quality_loss=0.01)
    assert (choice.chosen.variant, choice.pays, choice.saving) == ("dense", False, 0.0)


def test_a_better_runtime_is_not_sold_as_compression():
    candidates = [candidate("dense", 100), candidate("dense", 10, runtime="onnxruntime"), candidate("int8_static", 12)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.name, choice.dense.name, choice.pays) == (
        "dense@onnxruntime",
        "dense@onnxruntime",
        False,
    )


def test_a_variant_that_loses_too_much_quality_is_out():
    candidates = [candidate("dense", 10), candidate("sparse", 7), candidate("int8_static", 4, quality=0.96)]
    assert choose(candidates, max_quality_loss=0.01).chosen.variant == "sparse"


def test_a_variant_that_breaks_another_limit_is_out():
    broken = ("worst_class_accuracy 0.4000, dense 0.9000",)
    candidates = [candidate("dense", 10), candidate("sparse", 7), candidate("int8_static", 4, broken_limits=broken)]
    assert choose(candidates, max_quality_loss=0.01).chosen.variant == "sparse"
    candidates = [candidate("dense", 10), candidate("int8_static", 4, broken_limits=broken)]
    assert choose(candidates, max_quality_loss=0.01).pays is False


@pytest.mark.parametrize(("perplexity", "chosen"), [(20.3, "int8_static"), (20.5, "dense"), (19.0, "int8_static")])
def test_of_a_perplexity_less_is_better_and_its_loss_is_a_share_of_denses(perplexity, chosen):
    measure = Measure(name="perplexity", higher_is_better=False, relative=True)
    candidates = [
        dataclasses.replace(
            candidate(variant, energy_j),
            quality=Quality(headline=measure, figures={"perplexity": value}, interval=(0, 0), loss_interval=(0, 0)),
        )
        for variant, energy_j, value in (("dense", 10, 20.0), ("int8_static", 4, perplexity))
    ]
    assert choose(candidates, max_quality_loss=0.02).chosen.variant == chosen


def test_losing_exactly_the_limit_is_allowed():
    candidates = [candidate("dense", 10, quality=0.3), candidate("int8_static", 4, quality=0.3 - 0.01)]
    assert choose(candidates, max_quality_loss=0.01).chosen.variant == "int8_static"


def test_without_dense_there_is_nothing_to_compare_with():
    with pytest.raises(OverwinterError, match=r"evaluate.runtimes"):
        choose([candidate("sparse", 1)], max_quality_loss=0.01)


@pytest.mark.parametrize("variant", GIVEN)
def test_what_does_not_beat_the_file_it_was_made_of_is_not_sold_as_a_saving(variant):
    candidates = [candidate("dense", 100), candidate(variant, 10, runtime="llama-cpp"), candidate("int8_static", 12)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.name, choice.pays, choice.saving) == (f"{variant}@llama-cpp", False, 0.0)
    assert (choice.dense.name, choice.keeps_file) == ("dense@torch", True)
    overlapping = [*candidates, candidate("sparse", 9.9)]
    assert choose(overlapping, max_quality_loss=0.01).chosen.variant == variant


def test_a_saving_is_against_the_file_where_that_is_cheaper_than_dense():
    candidates = [candidate("dense", 100), candidate("input_file", 10), candidate("int8_static", 5)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.variant, choice.reference.variant, choice.keeps_file) == ("int8_static", "input_file", False)
    assert choice.saving == pytest.approx(0.5)


def test_a_saving_is_against_dense_where_that_is_cheaper_than_the_file():
    candidates = [candidate("dense", 10), candidate("input_file", 20), candidate("int8_static", 5)]
    assert choose(candidates, max_quality_loss=0.01).reference.variant == "dense"


def test_a_file_that_a_runtime_reads_too_coarsely_is_no_reference():
    candidates = [candidate("dense", 100), candidate("input_file", 5, quality=0.9), candidate("int8_static", 12)]
    choice = choose(candidates, max_quality_loss=0.01)
    assert (choice.chosen.variant, choice.reference.variant) == ("int8_static", "dense")


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from(sorted(SIMPLICITY)),
        st.floats(1, 100),
        st.floats(0, 5),
        quality=st.floats(0.9, 1.0),
        runtime=st.sampled_from(["torch", "onnxruntime"]),
    ),
    min_size=1,
    max_size=8,
)


@given(CANDIDATES, st.floats(0, 0.1))
def test_what_is_chosen_keeps_every_promise(candidates, max_quality_loss):
    assume(any(each.variant == "dense" for each in candidates))
    choice = choose(candidates, max_quality_loss=max_quality_loss)
    assert choice.dense.energy_j == min(each.energy_j for each in candidates if each.variant == "dense")
    assert choice.chosen.quality.value >= choice.dense.quality.value - max_quality_loss - 1e-9
    assert choice.pays is (choice.chosen.variant not in ("dense", *GIVEN))
    before = [each for each in candidates if each.variant in ("dense", *GIVEN)]
    allowed = [each for each in before if each.quality.value >= choice.dense.quality.value - max_quality_loss]
    assert choice.reference.energy_j <= min(each.energy_j for each in [choice.dense, *allowed])
    if choice.pays:
        assert choice.chosen.energy_ci_j[1] < choice.reference.energy_ci_j[0]
    else:
        assert choice.chosen == choice.reference


@given(CANDIDATES, st.randoms())
def test_the_order_of_the_candidates_does_not_matter(candidates, shuffler):
    assume(any(each.variant == "dense" for each in candidates))
    assume(len({each.energy_j for each in candidates}) == len(candidates))
    shuffled = shuffler.sample(candidates, len(candidates))
    assert choose(shuffled, max_quality_loss=0.05) == choose(candidates, max_quality_loss=0.05)
