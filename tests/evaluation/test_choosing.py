import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from overwinter.errors import OverwinterError
from overwinter.evaluation import Option, choose

SIMPLICITY = {"dense": 0, "sparse": 1, "int8_static": 2, "int8_dynamic": 3}


def option(form, energy_j, spread_j=0.1, *, quality=0.98, runtime="torch", broken_limits=()):
    return Option(
        form=form,
        runtime=runtime,
        simplicity=SIMPLICITY[form],
        quality=quality,
        energy_j=energy_j,
        energy_ci_j=(energy_j - spread_j, energy_j + spread_j),
        broken_limits=broken_limits,
    )


def test_the_fewest_joules_win():
    options = [option("dense", 10), option("sparse", 7), option("int8_static", 4)]
    choice = choose(options, max_quality_loss=0.01)
    assert (choice.chosen.form, choice.dense.energy_j, choice.pays) == ("int8_static", 10, True)
    assert choice.saving == pytest.approx(0.6)


def test_among_overlapping_intervals_the_simpler_form_wins():
    choice = choose([option("dense", 10), option("sparse", 4.1), option("int8_static", 4)], max_quality_loss=0.01)
    assert choice.chosen.form == "sparse"


def test_a_simpler_form_that_does_not_beat_dense_itself_is_not_taken_for_one_that_does():
    options = [option("dense", 10, 0.5), option("sparse", 9.2, 1), option("int8_static", 8.5, 0.5)]
    choice = choose(options, max_quality_loss=0.01)
    assert (choice.chosen.form, choice.pays) == ("int8_static", True)


def test_where_dense_overlaps_nothing_pays():
    choice = choose([option("dense", 10, 1), option("int8_static", 9, 1)], max_quality_loss=0.01)
    assert (choice.chosen.form, choice.pays, choice.saving) == ("dense", False, 0.0)


def test_a_better_runtime_is_not_sold_as_compression():
    options = [option("dense", 100), option("dense", 10, runtime="onnxruntime"), option("int8_static", 12)]
    choice = choose(options, max_quality_loss=0.01)
    assert (choice.chosen.name, choice.dense.name, choice.pays) == (
        "dense@onnxruntime",
        "dense@onnxruntime",
        False,
    )


def test_a_form_that_loses_too_much_quality_is_out():
    options = [option("dense", 10), option("sparse", 7), option("int8_static", 4, quality=0.96)]
    assert choose(options, max_quality_loss=0.01).chosen.form == "sparse"


def test_a_form_that_breaks_another_limit_is_out():
    broken = ("worst_class_accuracy 0.4000, dense 0.9000",)
    options = [option("dense", 10), option("sparse", 7), option("int8_static", 4, broken_limits=broken)]
    assert choose(options, max_quality_loss=0.01).chosen.form == "sparse"
    options = [option("dense", 10), option("int8_static", 4, broken_limits=broken)]
    assert choose(options, max_quality_loss=0.01).pays is False


def test_losing_exactly_the_limit_is_allowed():
    options = [option("dense", 10, quality=0.3), option("int8_static", 4, quality=0.3 - 0.01)]
    assert choose(options, max_quality_loss=0.01).chosen.form == "int8_static"


def test_without_dense_there_is_nothing_to_compare_with():
    with pytest.raises(OverwinterError, match=r"evaluate.runtimes"):
        choose([option("sparse", 1)], max_quality_loss=0.01)


OPTIONS = st.lists(
    st.builds(
        option,
        st.sampled_from(sorted(SIMPLICITY)),
        st.floats(1, 100),
        st.floats(0, 5),
        quality=st.floats(0.9, 1.0),
        runtime=st.sampled_from(["torch", "onnxruntime"]),
    ),
    min_size=1,
    max_size=8,
)


@given(OPTIONS, st.floats(0, 0.1))
def test_what_is_chosen_keeps_every_promise(options, max_quality_loss):
    assume(any(each.form == "dense" for each in options))
    choice = choose(options, max_quality_loss=max_quality_loss)
    assert choice.dense.energy_j == min(each.energy_j for each in options if each.form == "dense")
    assert choice.chosen.quality >= choice.dense.quality - max_quality_loss - 1e-9
    assert choice.pays is (choice.chosen.form != "dense")
    if choice.pays:
        assert choice.chosen.energy_ci_j[1] < choice.dense.energy_ci_j[0]
    else:
        assert choice.chosen == choice.dense


@given(OPTIONS, st.randoms())
def test_the_order_of_the_options_does_not_matter(options, shuffler):
    assume(any(each.form == "dense" for each in options))
    assume(len({each.energy_j for each in options}) == len(options))
    shuffled = shuffler.sample(options, len(options))
    assert choose(shuffled, max_quality_loss=0.05) == choose(options, max_quality_loss=0.05)
