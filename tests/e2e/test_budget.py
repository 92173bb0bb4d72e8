"""Budgets that stop: gates, and what is held behind them."""

import json

from overwinter.errors import EXIT_REFUSED

TIGHT = "budget.stages.train=1 mJ"


def test_a_refusing_gate_holds_what_follows_and_loses_nothing(space):
    before = space.models()
    (space.root / "outputs" / "sparsify" / "gate.json").stat()
    done = space.run("sparsify.amount=0.25", TIGHT, check=False)
    assert done.returncode == EXIT_REFUSED
    assert "budget.stages.train" in done.stderr
    assert not (space.root / "outputs/train/gate.json").exists()
    report = space.json("train/gate_report.json")
    assert report["passed"] is False
    assert report["reasons"][0]["value"] > report["reasons"][0]["allowed"]
    assert space.models() == before

    # Plain dvc refuses too, and what it refused cannot be saved and walked through.
    assert space("dvc", "repro", check=False).returncode == 255
    space("dvc", "exp", "save", "--force", check=False)
    again = space("dvc", "repro", check=False)
    assert again.returncode == 255
    assert "Running stage 'sparsify'" not in again.stdout

    # Raised again, only gates run.
    raised = space.run("budget.stages.train=1 MJ")
    assert set(space.states(raised).values()) == {"reused"}
    assert space.models() == before


def test_a_stage_without_the_gates_before_it_does_not_start(space):
    (space.root / "outputs" / "train" / "gate.json").unlink()
    done = space("python", "stages/sparsify.py", check=False)
    assert done.returncode == EXIT_REFUSED
    assert "gate after train" in done.stderr


def test_a_forged_verdict_is_an_integrity_error(space):
    (space.root / "outputs" / "train" / "gate.json").write_text('{"stage": "train", "pass": "maybe"}')
    assert space("python", "stages/sparsify.py", check=False).returncode == 4


def test_a_budget_that_cannot_hold_the_plan_starts_nothing(space):
    done = space.run("train.epochs=3", "budget.total=1 mJ", check=False)
    assert done.returncode == EXIT_REFUSED
    assert "nothing was started" in done.stderr
    assert "epochs: 2" in (space.root / "params.yaml").read_text()


def test_the_guard_stops_a_running_stage_which_resumes_when_the_budget_is_raised(space):
    budget_j = space.json("train/energy.json")["energy_j"] * 1.5
    longer = ("train.epochs=40", "train.patience_epochs=0")  # on a loaded machine two epochs have cost more than 12 do
    (space.root / ".overwinter" / "ledger.sqlite").unlink()  # no history: neither plan nor admission can know
    done = space.run(*longer, f"budget.stages.train={budget_j} J", check=False)
    assert done.returncode == EXIT_REFUSED
    assert "on course" in done.stderr or "has spent" in done.stderr
    refused = _executions(space)[-1]
    assert refused["status"] == "refused"
    assert refused["energy_j"] < 2 * budget_j

    space("overwinter", "compose", *longer, "budget.stages.train=1 MJ")
    space("dvc", "repro", "train")
    energy = space.json("train/energy.json")
    assert energy["resumed_j"] > 0
    assert energy["energy_j"] > energy["resumed_j"]


def _executions(space):
    return json.loads(space("overwinter", "ledger", "--json", "--stage", "train").stdout)["executions"]


def test_the_ledger_keeps_a_refused_gate(space):
    space.run(TIGHT, check=False)
    response = json.loads(space("overwinter", "ledger", "--json", "--status", "refused").stdout)
    assert [record["stage"] for record in response["executions"]] == ["gate-train"]


def test_a_run_that_may_degrade_falls_back_and_says_so(space):
    limit_j = 3 * space.json("sparsify/energy.json")["energy_j"]
    dear = ("sparsify.fit.epochs=100", f"budget.stages.sparsify={limit_j} J")
    done = space.run(*dear, "budget.mode=degrade", "budget.degrade=['sparsify.fit.epochs=1']")
    assert "degrading: sparsify.fit.epochs=1" in done.stderr
    assert "epochs: 1\n" in (space.root / "params.yaml").read_text()
    assert space.json("sparsify/energy.json")["energy_j"] < limit_j
    ledger = json.loads(space("overwinter", "ledger", "--json", "--stage", "degrade").stdout)["executions"]
    assert [record["metrics"]["overrides"] for record in ledger] == ["sparsify.fit.epochs=1"]


def test_a_probe_forecasts_what_has_no_history_and_its_work_is_not_lost(space):
    (space.root / ".overwinter" / "ledger.sqlite").unlink()
    longer = ("train.epochs=12", "train.patience_epochs=0")
    plan = ("overwinter", "plan", "--json", *longer)
    assert json.loads(space(*plan).stdout)["forecasts"]["train"]["basis"] == "unknown"
    expected = json.loads(space(*plan, "--probe", "1.5").stdout)["forecasts"]["train"]
    assert expected["basis"] == "probe"
    space("overwinter", "compose", *longer)
    space("dvc", "repro", "train")
    energy = space.json("train/energy.json")
    assert energy["resumed_j"] > 0
    assert expected["energy_j"]["low"] / 2 < energy["energy_j"] < expected["energy_j"]["high"] * 2


def test_a_refused_experiment_is_kept_in_the_ledger_with_its_name_and_numbers(space):
    done = space("dvc", "exp", "run", "-n", "dear", "-S", "budget.stages.train='1 mJ'", check=False)
    assert done.returncode == 255
    (record,) = json.loads(space("overwinter", "ledger", "--json", "--experiment", "dear").stdout)["executions"]
    assert record["status"] == "refused", record
    assert record["stage"] == "gate-train", record
    assert record["metrics"]["reasons"][0]["value"] > 0.001


def test_a_price_turns_joules_into_money_in_the_ledger(space):
    space("python", "stages/train.py", "threads=1", "train.epochs=1", "budget.price_per_kwh='3600 EUR'")
    record = json.loads(space("overwinter", "ledger", "--json", "--experiment", "scratch").stdout)["executions"][-1]
    assert record["currency"] == "EUR"
    assert abs(record["cost"] - record["energy_j"] * 3600 / 3.6e6) < 1e-6 * record["cost"] + 1e-9


def test_what_was_spent_on_a_refused_stage_is_reported_and_what_is_restored_is_in_use_again(space):
    (first,) = _ids(space, "sparsify")
    other = ("sparsify.amount=0.25", "quantize.calibration_samples=100")  # unlike the history, so that the plan passes
    done = space.run(*other, "budget.stages.quantize=1 mJ", check=False)
    assert done.returncode == EXIT_REFUSED
    (row,) = [row for row in json.loads(done.stdout)["stages"] if row["stage"] == "quantize"]
    assert row["state"] == "refused"
    assert row["energy_j"] > 0
    _, second = _ids(space, "sparsify")
    refused = _ids(space, "quantize")[-1]  # it keeps no checkpoint
    assert _wasted(space) == {refused}  # the bundle still rests on the first sparse model

    space.run()  # as at the start: restored from the cache
    assert _ids(space, "sparsify") == [first, second]
    assert _wasted(space) == {second, refused}


def _ids(space, stage):
    output = json.loads(space("overwinter", "ledger", "--json", "--stage", stage).stdout)
    return [record["id"] for record in output["executions"]]


def _wasted(space):
    output = json.loads(space("overwinter", "ledger", "--json", "--wasted").stdout)
    return {record["id"] for record in output["executions"]}
