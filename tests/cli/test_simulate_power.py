from __future__ import annotations

import argparse
import json
import math

import pytest

from overwinter.cli import simulate_power
from overwinter.errors import ConfigError

ROWS = [(100, 20.0, 95), (150, 11.8, 140), (200, 10.5, 185), (250, 10.0, 220)]


@pytest.fixture
def files(tmp_path):
    trace, table = tmp_path / "trace.csv", tmp_path / "table.csv"
    lines = ["time_utc,g_per_kwh"]
    for hour in range(24 * 40):
        if hour != 500:
            day, of_day = divmod(hour, 24)
            month, day = divmod(day, 31)
            value = 200 + 90 * math.sin(2 * math.pi * of_day / 24)
            lines.append(f"2026-{month + 1:02}-{day + 1:02}T{of_day:02}:00:00Z,{value:.2f}")
    trace.write_text("\n".join(lines) + "\n")
    table.write_text(
        "network,power_limit,time_per_epoch,average_power\n"
        + "".join(f"net,{limit},{time},{power}\n" for limit, time, power in ROWS)
    )
    return {"carbon": trace, "device": table}


def parsed(files, *words, policy="carbon_aware", **left_out):
    parser = argparse.ArgumentParser()
    simulate_power.add_arguments(parser)
    chosen = [word for name, path in files.items() if name not in left_out for word in (f"--{name}", str(path))]
    return parser.parse_args(["--policy", policy, *chosen, "--hours", "6", "--starts", "3", *words])


def simulated(capsys, files, *words, policy="carbon_aware"):
    assert simulate_power.run(parsed(files, *words, "--json", policy=policy)) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_has_the_agreed_shape(capsys, files):
    report = simulated(capsys, files, "--select", "network=net", "--slack", "2", "--seed", "1")
    sums = {"carbon_g", "energy_j", "hours", "missed_deadlines"}
    assert list(report) == ["policy", "no_cap", "best_static", "optimum", "share_of_optimum_saving", "runs"]
    assert [set(report[name]) for name in ("policy", "no_cap", "optimum")] == [sums] * 3
    assert set(report["best_static"]) == sums | {"limit_w"}
    assert len(report["runs"]) == 3
    run = {"start_utc", "policy_g", "policy_hours", "no_cap_g", "best_static_g", "optimum_g"}
    assert set(report["runs"][0]) == run
    assert report["policy"]["carbon_g"] == pytest.approx(sum(each["policy_g"] for each in report["runs"]))
    saving = [report["no_cap"]["carbon_g"] - report[name]["carbon_g"] for name in ("policy", "optimum")]
    assert report["share_of_optimum_saving"] == pytest.approx(saving[0] / saving[1])
    assert 0.9 < report["share_of_optimum_saving"] <= 1
    assert report["policy"]["missed_deadlines"] == 0


def test_no_cap_saves_nothing_and_a_static_one_takes_its_settings(capsys, files):
    assert simulated(capsys, files, policy="none")["share_of_optimum_saving"] == pytest.approx(0, abs=1e-9)
    report = simulated(capsys, files, "power.limit=150 W", policy="static")
    assert report["policy"]["hours"] == pytest.approx(3 * 6 * 1.18)
    assert report["policy"]["carbon_g"] == pytest.approx(report["best_static"]["carbon_g"])
    assert report["best_static"]["limit_w"] == 150


def _priced(files):
    path = files["carbon"].with_name("prices.csv")
    path.write_text(files["carbon"].read_text().replace("g_per_kwh", "price_per_kwh"))
    return {"prices": path, "device": files["device"]}


def test_prices_are_followed_like_carbon_and_reported_as_cost(capsys, files):
    report = simulated(capsys, _priced(files), policy="price_aware")
    grams = simulated(capsys, files)
    assert report["policy"]["cost"] == pytest.approx(grams["policy"]["carbon_g"])
    assert set(report["runs"][0]) == {name.replace("_g", "_cost") for name in grams["runs"][0]}
    assert report["share_of_optimum_saving"] == pytest.approx(grams["share_of_optimum_saving"])
    known = simulated(capsys, _priced(files), "--published", "24", policy="price_aware")
    assert known["share_of_optimum_saving"] == pytest.approx(1.0, abs=1e-6)


def test_a_budget_is_paced_and_what_exceeds_it_is_counted(capsys, files):
    enough = simulated(capsys, files, "--budget", "1.1 kWh", policy="budget_pacing")
    assert [enough[name]["over_budget"] for name in ("policy", "no_cap", "best_static")] == [0, 3, 0]
    assert enough["policy"]["missed_deadlines"] == 0
    scarce = simulated(capsys, files, "--budget", "0.5 kWh", policy="budget_pacing")
    assert scarce["policy"]["over_budget"] == scarce["optimum"]["over_budget"] == 3
    grams = simulated(capsys, files, "--budget", "1 kgCO2e", policy="budget_pacing")
    assert grams["policy"]["over_budget"] == 0
    assert "over_budget" not in simulated(capsys, files, policy="none")["policy"]


def test_the_table_says_cost_and_budget(capsys, files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    simulate_power.run(parsed(_priced(files), "--budget", "1.1 kWh", policy="budget_pacing"))
    shown = capsys.readouterr().out
    assert "over budget" in shown
    assert "gCO2e" not in shown
    assert "prices.csv" in shown


def test_a_late_policy_is_counted(capsys, files):
    report = simulated(capsys, files, "power.limit=100 W", policy="static")
    assert report["policy"]["missed_deadlines"] == 3


def test_the_table_tells_everything_and_the_missing_hour(capsys, files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert simulate_power.run(parsed(files)) == 0
    shown = capsys.readouterr().out
    for text in ("carbon_aware", "no cap", "best single limit (150 W)", "optimum", "100.0 %"):
        assert text in shown
    assert "1 of 960 steps of trace.csv are missing: interpolated." in shown


def test_with_json_the_missing_hour_is_reported_beside_it(capsys, files):
    simulate_power.run(parsed(files, "--json"))
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    assert "interpolated" in captured.err


def test_energy_optimal_reports_every_workload(capsys, files):
    assert simulate_power.run(parsed(files, "--json", policy="energy_optimal", carbon=None)) == 0
    (found,) = json.loads(capsys.readouterr().out)["workloads"]
    assert found["select"] == {"network": "net"}
    assert found["probes"] <= found["full_sweep"] == 4
    assert found["energy_j"] == found["best_energy_j"] == pytest.approx(140 * 11.8)
    assert found["best_job_energy_j"] == pytest.approx(200 * 140 * 11.8)
    tried_j = sum(time_s * power_w for _, time_s, power_w in ROWS)
    assert found["job_energy_j"] >= found["best_job_energy_j"] + tried_j - 4 * 140 * 11.8 - 1
    assert found["slowdown"] == pytest.approx(0.18)
    assert simulate_power.run(parsed(files, "--json", "--max-slowdown", "0.1", policy="energy_optimal")) == 0
    (found,) = json.loads(capsys.readouterr().out)["workloads"]
    assert found["slowdown"] == pytest.approx(0.05)


def test_the_noise_is_drawn_anew_in_each_repeat(capsys, files):
    settings = ("--json", "--job", "30", "--noise", "0.1")
    found = {}
    for repeats in ("1", "5"):
        assert simulate_power.run(parsed(files, *settings, "--repeats", repeats, policy="energy_optimal")) == 0
        found[repeats] = json.loads(capsys.readouterr().out)
        assert found[repeats]["mean_ratio"] == found[repeats]["workloads"][0]["ratio"] >= 1
    assert found["1"]["mean_ratio"] != found["5"]["mean_ratio"]


def test_energy_optimal_has_a_table_too(capsys, files):
    assert simulate_power.run(parsed(files, policy="energy_optimal")) == 0
    assert "150 W" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "policy", "message"),
    [
        ((), "carbon_awar", "Did you mean 'carbon_aware'"),
        ((), "budget_pacing", "needs --budget"),
        (("--budget", "3 W"), "budget_pacing", "--budget='3 W'"),
        (("--budget", "much"), "budget_pacing", "--budget='much'"),
        ((), "price_aware", "needs --prices"),
        (("--job", "0"), "energy_optimal", "--job 0 must be at least 1"),
        (("--noise", "-1"), "energy_optimal", "--noise -1"),
        (("--repeats", "0"), "energy_optimal", "--repeats 0"),
        (("--published", "-1"), "carbon_aware", "--published -1"),
        (("--slack", "0.9"), "carbon_aware", "--slack 0.9 must be at least 1"),
        (("--hours", "0"), "carbon_aware", "--hours 0 must be above 0"),
        (("--pause-w", "-1"), "carbon_aware", "--pause-w -1 must be at least 0"),
        (("--starts", "0"), "carbon_aware", "--starts 0"),
        (("--seed", "-1"), "carbon_aware", "--seed -1"),
        (("--hours", "900"), "carbon_aware", "five weeks of past"),
        (("--select", "network=nett"), "carbon_aware", "Did you mean 'net'"),
        (("limit=3",), "static", "Write power.KEY=VALUE"),
        (("power.limt=3",), "static", "limt"),
        (("power.limit=much",), "static", "power.limit='much'"),
        (("power.limit=20 W",), "static", "limit of 20 W is outside the device's range, 100 to 250 W"),
        (("power.max_slowdown=0.1",), "energy_optimal", "--max-slowdown"),
    ],
)
def test_bad_input_is_named(files, words, policy, message):
    with pytest.raises(ConfigError, match=message):
        simulate_power.run(parsed(files, *words, policy=policy))


def test_a_missing_trace_or_table_is_named(files, tmp_path):
    with pytest.raises(ConfigError, match="needs --carbon"):
        simulate_power.run(parsed({"device": files["device"]}))
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read"):
        simulate_power.run(parsed(files | {"device": tmp_path / "none.csv"}))
    files["device"].write_text("network,power_limit\nnet,100\n")
    with pytest.raises(ConfigError, match="no column time_per_epoch"):
        simulate_power.run(parsed(files))
