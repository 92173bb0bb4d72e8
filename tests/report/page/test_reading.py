"""The content of a report equals what is in the project's files."""

import json

import pytest

from overwinter.config import compose
from overwinter.errors import ConfigError
from overwinter.ledger import Ledger
from overwinter.report.page import read_content, render_page
from overwinter.report.page.lineage import amended
from overwinter.sweep.front import find_front, write_front
from overwinter.sweep.results import SweepRecord, sweep_folder, write_sweep
from tests.support.report_project import CANDIDATES_J, ROOT, RUN, STAGES_J, make_report_project, run_stage
from tests.sweep.points import GOAL, record


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return make_report_project(tmp_path)


def test_stages_have_the_figures_of_their_files(project):
    content = read_content(project)
    assert {stage.stage: stage.energy_j for stage in content.stages} == STAGES_J
    for stage in content.stages:
        energy = json.loads((project.outputs / stage.stage / "energy.json").read_text())
        assert (stage.uncertainty_j, stage.carbon_g) == (energy["uncertainty_j"], energy["carbon_g"])
        assert [device.energy_j for device in stage.devices] == [each["energy_j"] for each in energy["components"]]
        assert [device.measured for device in stage.devices] == [True, False]
        assert stage.gate is not None
        assert stage.gate.passed
    assert content.total.energy_j == sum(STAGES_J.values())
    assert content.total.measured_fraction == pytest.approx(0.75)


def test_power_keeps_its_area_and_sets_the_stages_end_to_end(project):
    (project.outputs / "train" / "power.csv").write_text(
        "time_s,device,power_w,limit_w,intensity_g_per_kwh\n"
        + "".join(f"{place / 1000},cpu,{place % 2},,\n" for place in range(10_000))
    )
    power = [each for each in read_content(project).power if each.device == "cpu"]
    train = [each for each in power if each.stage == "train"]
    assert len(train) < 100
    assert sum(each.power_w for each in train) / len(train) == pytest.approx(0.5, abs=0.01)
    assert min(each.time_s for each in power if each.stage == "sparsify") == 10.0


def test_curves_are_of_the_runs_that_made_the_results(project):
    points = read_content(project).curves
    assert {point.stage for point in points} == {"train", "sparsify"}
    assert points[0].figures == {"epoch": 1.0, "loss": 1.0, "validation_accuracy": 0.2}
    assert points[-1].pipeline_j == STAGES_J["train"] + STAGES_J["sparsify"]
    (project.state / "runs" / f"{RUN}.events").unlink()
    assert read_content(project).curves == ()


def test_candidates_are_those_of_comparison_json(project):
    responses = read_content(project).responses
    assert responses is not None
    assert {each.name: each.energy_per_response_j for each in responses.candidates} == {
        name: many_j for name, (_, many_j) in CANDIDATES_J.items()
    }
    assert responses.candidates[0].role == "chosen"
    assert responses.saving_low < responses.saving < responses.saving_high


def test_payback_counts_the_stages_that_the_budget_names(project):
    payback = read_content(project).payback
    assert payback is not None
    assert payback.spent_j == STAGES_J["sparsify"] + STAGES_J["quantize"]
    assert payback.responses == pytest.approx(payback.spent_j / (1.4e-4 - 2.5e-5), abs=1)
    assert payback.responses_at_worst > payback.responses


def test_limits_say_what_is_used_and_left(project):
    text = project.params.read_text()
    project.params.write_text(text.replace("budget:\n  total: null", "budget:\n  total: 1 kJ"))
    (limit,) = read_content(project).limits
    assert (limit.limit, limit.allowed, limit.used, limit.left) == ("budget.total", "1.00 kJ", "400 J", "600 J")
    assert limit.share == pytest.approx(0.4)


def test_the_ledger_tells_what_was_wasted(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    ledger = read_content(make_report_project(tmp_path, wasted_j=50.0)).ledger
    assert ledger is not None
    assert ledger.wasted.energy_j == 50.0
    assert [each.name for each in ledger.wasted_by] == ["train, failed"]
    assert ledger.last_run.energy_j == sum(STAGES_J.values())


def test_the_command_that_makes_it_again_has_the_overrides_of_params_yaml(project):
    assert read_content(project).lineage.command == "overwinter run"
    text = project.params.read_text()
    assert "\nseed: 0\n" in f"\n{text}"
    project.params.write_text(text.replace("seed: 0\n", "seed: 7\n", 1))
    assert read_content(project).lineage.command == "overwinter run seed=7"


def test_the_command_names_the_chosen_option_of_a_group(project):
    project.params.write_text(compose(project, ["quantize=none", "train.epochs=3"]))
    assert read_content(project).lineage.command == "overwinter run quantize=none train.epochs=3"


def test_advice_keeps_the_overrides_that_made_the_results(project):
    project.params.write_text(compose(project, ["seed=7", "train.epochs=10"]))
    commands = {each.title: each.command for each in read_content(project).advice}
    assert commands["train: stop earlier"] == "overwinter run seed=7 train.epochs=5"
    assert commands["Let a counter measure the joules"] == "overwinter doctor"


@pytest.mark.parametrize(
    ("made_by", "command", "amended_to"),
    [
        ("overwinter run", "overwinter run train.epochs=5", "overwinter run train.epochs=5"),
        (
            "overwinter run quantize=int4 quantize.bits=4",
            "overwinter run quantize=none",
            "overwinter run quantize=none",
        ),
        ("overwinter run train=fast", "overwinter run train.epochs=5", "overwinter run train=fast train.epochs=5"),
        ("dvc repro", "overwinter run train.epochs=5", "overwinter run train.epochs=5"),
        ("overwinter run seed=7", "overwinter run --from-sweep a --pick b", "overwinter run --from-sweep a --pick b"),
    ],
)
def test_a_command_replaces_only_what_it_changes(made_by, command, amended_to):
    assert amended(made_by, command) == amended_to


def test_results_of_other_configs_are_made_again_by_dvc_in_their_commit(project):
    project.params.write_text(project.params.read_text().replace("configs_digest: ", "configs_digest: 0"))
    assert read_content(project).lineage.command == "dvc repro"


def test_results_of_two_runs_are_told_apart(project):
    assert read_content(project).outdated == {}
    with Ledger.open(project.state / "ledger.sqlite") as ledger:
        run_stage(project, ledger, "sparsify", 70.0, {"train": "digest of train"}, digest="another")
    content = read_content(project)
    assert content.outdated == {
        "quantize": ("sparsify",),
        "evaluate": ("sparsify", "quantize"),
        "hibernate": ("sparsify", "quantize", "evaluate"),
    }
    assert "This page mixes two runs." in render_page(content)


def test_without_results_there_is_nothing_to_report(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    project = make_report_project(tmp_path)
    for stage in STAGES_J:
        (project.outputs / stage / "energy.json").unlink()
    with pytest.raises(ConfigError, match="no results to report yet"):
        read_content(project)


def _write_sweep(project, points):
    write_sweep(project, SweepRecord(name="mine", until="evaluate", commit="0", points=points))
    write_front(sweep_folder(project, "mine"), find_front((), GOAL))


def test_a_sweep_alone_is_shown_without_results_here(project):
    points = (record("aaaa1111", 0.99, 10.0, 900), record("aaaa2222", 0.98, 4.0, 500))
    _write_sweep(project, points)
    for stage in STAGES_J:
        (project.outputs / stage / "energy.json").unlink()
    content = read_content(project)
    assert content.sweep is not None
    assert [each.name for each in content.sweep.points] == ["aaaa1111", "aaaa2222"]
    page = render_page(content)
    assert "No run has left results in this folder yet" in page
    assert "aaaa1111" in page
    assert "Making this model cost" not in page


def test_the_latest_sweep_is_shown_beside_the_results(project):
    points = (record("aaaa1111", 0.99, 1e-5, 900),)
    _write_sweep(project, points)
    titles = [each.title for each in read_content(project).advice]
    assert "Point aaaa1111 of the sweep mine uses fewer joules at no less quality" in titles


def test_the_repository_has_the_settings_that_advice_names():
    assert (ROOT / "configs" / "sparsify" / "none.yaml").exists()
    assert (ROOT / "configs" / "quantize" / "none.yaml").exists()
