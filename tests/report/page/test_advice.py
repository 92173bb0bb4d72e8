"""Advice says only what the records say, the largest expected saving first."""

from dataclasses import replace

import pytest

from overwinter.report.page import read_content
from overwinter.report.page.advice import advise
from overwinter.report.page.content import FrontEntry, SweepFigures
from overwinter.tasks import Measure
from tests.support.report_project import STAGES_J, make_report_project

ACCURACY = Measure(name="accuracy")
WHOLE_J = sum(STAGES_J.values())


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        return read_content(make_report_project(tmp_path_factory.mktemp("winter"), wasted_j=600.0))


def _advice(content, headline=ACCURACY, **changes):
    given = {
        name: getattr(content, name)
        for name in ("stages", "curves", "responses", "payback", "sweep", "ledger", "power")
    }
    return {each.title: each for each in advise(headline=headline, **given | changes)}


def test_a_stage_that_went_on_after_its_best_could_have_stopped(content):
    advice = _advice(content)["train: stop earlier"]
    assert advice.share == pytest.approx(0.5 * STAGES_J["train"] / WHOLE_J)
    assert advice.saves == "up to 50.0 J of 100 J"
    assert advice.command == "overwinter run train.epochs=5"


def test_the_best_of_a_measure_that_should_be_low_is_its_least(content):
    low = replace(ACCURACY, higher_is_better=False)
    assert _advice(content, low)["train: stop earlier"].command == "overwinter run train.epochs=1"


def test_a_stage_that_was_best_at_its_end_has_none(content):
    rising = tuple(replace(each, figures={"validation_accuracy": each.energy_j}) for each in content.curves)
    assert not [title for title in _advice(content, curves=rising) if "stop earlier" in title]


def test_the_largest_share_is_first_and_what_has_no_figure_last(content):
    shares = [each.share for each in content.advice]
    known = [share for share in shares if share is not None]
    assert known == sorted(known, reverse=True)
    assert shares == known + [None] * (len(shares) - len(known))


def test_batches_that_are_cheaper_are_named(content):
    advice = _advice(content)["Ask for 32 responses at once where a request can wait"]
    assert advice.share == pytest.approx(1 - 2.5e-5 / 8.4e-5)


def test_a_runtime_that_lost_with_every_variant_can_be_left_out(content):
    advice = _advice(content)["Leave torch out of the evaluation"]
    assert advice.command == "overwinter run 'evaluate.runtimes=[onnxruntime]'"
    assert advice.share is None
    assert not [title for title in _advice(content) if title.startswith("Leave onnxruntime")]


def test_compression_that_was_not_chosen_gained_nothing(content):
    roles = {"dense@onnxruntime": "chosen"}
    candidates = tuple(replace(each, role=roles.get(each.name, "")) for each in content.responses.candidates)
    advice = _advice(content, responses=replace(content.responses, candidates=candidates))
    found = advice["sparsify and quantize gained nothing: the dense model is served"]
    assert found.share == pytest.approx(80.0 / WHOLE_J)
    assert found.command == "overwinter run sparsify=none quantize=none"


def test_a_variant_that_only_a_limit_kept_away_is_named(content):
    cheap = replace(
        content.responses.candidates[0],
        name="int4@onnxruntime",
        role="",
        broken_limits=("max_quality_loss",),
        energy_per_response_j=1e-5,
        energy_per_response_low_j=0.9e-5,
        energy_per_response_high_j=1.1e-5,
    )
    candidates = (cheap, *content.responses.candidates)
    advice = _advice(content, responses=replace(content.responses, candidates=candidates))
    found = advice["int4@onnxruntime would use fewer joules, but breaks a limit on quality"]
    assert found.share == pytest.approx(0.6)
    assert "max_quality_loss" in found.why


@pytest.mark.parametrize(
    ("quality", "energy_j", "named"), [(0.99, 1e-5, True), (0.98, 1e-5, False), (0.99, 2.5e-5, False)]
)
def test_a_point_of_a_sweep_must_be_cheaper_and_no_worse(content, quality, energy_j, named):
    point = FrontEntry(
        name="abcd1234",
        settings="sparsify.amount=0.7",
        mark="knee",
        quality=quality,
        energy_per_response_j=energy_j,
        production_j=None,
        size_bytes=None,
    )
    advice = _advice(content, sweep=SweepFigures(name="mine", description="", points=(point,)))
    assert bool([title for title in advice if title.startswith("Point abcd1234")]) is named


def test_what_was_wasted_is_named_with_its_largest_part(content):
    found = _advice(content)["600 J were spent on results that nothing uses"]
    assert found.share is None  # it is spent, and cannot be saved any more
    assert "1 execution of train, failed (600 J)" in found.why
    assert found.command == "overwinter ledger --wasted"


def test_where_the_file_is_served_as_it_came_compression_gained_nothing(content):
    first = replace(content.responses.candidates[0], name="input_file@llama-cpp", role="chosen")
    advice = _advice(content, responses=replace(content.responses, candidates=(first,)))
    assert "sparsify and quantize gained nothing: the file that the model came in is served" in advice


def test_hours_with_a_lower_carbon_intensity_are_named_by_their_grams(content):
    stages = tuple(replace(each, carbon_g=each.energy_j / 3.6e6 * 404.5) for each in content.stages)
    power = tuple(replace(each, intensity_g_per_kwh=each.intensity_g_per_kwh - 100) for each in content.power)
    found = _advice(content, stages=stages, power=power)["Run while the grid is cleaner"]
    assert found.share == pytest.approx(1 - 300 / 404.5)
    steady = tuple(replace(each, intensity_g_per_kwh=404.5) for each in content.power)
    assert "Run while the grid is cleaner" not in _advice(content, stages=stages, power=steady)
