from __future__ import annotations

import argparse
import json

import pytest

from overwinter.cli import simulate_hibernation
from overwinter.errors import ConfigError

COSTS = ["--park-w", "121.7", "--off-w", "71.8", "--wake-s", "5", "--wake-w", "130"]


@pytest.fixture
def requests(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text("seconds,tokens\n0,1\n100,1\n103,1\n800,1\n")
    return path


def parsed(path, *words, policy="break_even", costs=COSTS):
    parser = argparse.ArgumentParser()
    simulate_hibernation.add_arguments(parser)
    return parser.parse_args(["--requests", str(path), "--policy", policy, *costs, *words])


def simulated(capsys, path, *words, **chosen):
    assert simulate_hibernation.run(parsed(path, *words, "--json", **chosen)) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_has_the_agreed_shape(capsys, requests):
    report = simulated(capsys, requests)
    figures = {"energy_j", "wakes", "added_latency_p50_s", "added_latency_p95_s"}
    assert list(report) == ["policy", "optimum", "ratio", "fixed", "best_fixed"]
    assert set(report["policy"]) == figures
    assert {name: set(entry) for name, entry in report["fixed"].items()} == dict.fromkeys(("60", "300", "600"), figures)
    assert set(report["best_fixed"]) == {"timeout_s", "energy_j"}


def test_the_figures_are_those_of_a_hand_calculation(capsys, requests):
    report = simulated(capsys, requests)
    wake_j = 5 * (130 - 71.8)
    slept_at_once_j = 71.8 * (100 + 697) + 2 * wake_j + 121.7 * 3
    break_even_s = wake_j / (121.7 - 71.8)
    assert report["optimum"]["energy_j"] == pytest.approx(slept_at_once_j)
    assert report["policy"]["energy_j"] == pytest.approx(slept_at_once_j + 2 * break_even_s * 49.9)
    assert report["ratio"] == pytest.approx(report["policy"]["energy_j"] / slept_at_once_j)
    assert report["policy"]["wakes"] == 2
    assert report["policy"]["added_latency_p50_s"] == pytest.approx(3.5)  # waits of 0, 5, 2 and 5 s
    assert report["fixed"]["300"]["wakes"] == 1
    assert report["fixed"]["300"]["energy_j"] == pytest.approx(121.7 * (103 + 300) + 71.8 * 397 + wake_j)
    assert report["best_fixed"]["timeout_s"] == 0
    assert report["best_fixed"]["energy_j"] == pytest.approx(71.8 * 800 + 3 * wake_j)


def test_going_to_sleep_costs_too(capsys, requests):
    free = simulated(capsys, requests)
    paid = simulated(capsys, requests, "--sleep-s", "2", "--sleep-w", "100")
    added_j = paid["fixed"]["300"]["energy_j"] - free["fixed"]["300"]["energy_j"]
    assert added_j == pytest.approx(2 * (100 - 71.8))


def test_the_limit_is_kept(capsys, requests):
    report = simulated(capsys, requests, "--slo-p95-s", "1")
    assert report["policy"]["added_latency_p95_s"] <= 1
    assert report["policy"]["energy_j"] >= report["optimum"]["energy_j"]


def test_the_seed_decides_counted_requests_and_draws(capsys, tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("seconds,count\n0,5\n300,7\n600,2\n")
    once, again, other = (simulated(capsys, path, "--seed", seed, policy="randomised") for seed in ("1", "1", "2"))
    assert once == again != other


def test_a_policy_takes_options(capsys, requests):
    report = simulated(capsys, requests, "--option", "timeout_s=300", policy="fixed")
    assert report["policy"] == report["fixed"]["300"]
    windows = json.dumps([{"start": "0 0 * * *", "end": "0 1 * * *"}])
    assert simulated(capsys, requests, "--option", f"windows={windows}", policy="scheduled")["policy"]["wakes"] == 0


def test_the_table_names_every_row(capsys, requests):
    assert simulate_hibernation.run(parsed(requests, "--slo-p95-s", "1")) == 0
    printed = capsys.readouterr().out
    for row in ("break_even, p95 within 1.00 s", "Ollama", "Ray Serve", "best fixed in hindsight, 0 s", "optimum"):
        assert row in printed


@pytest.mark.parametrize(
    ("words", "policy", "expected"),
    [
        ([], "brake_even", "Did you mean 'break_even'"),
        ([], "fixed", "needs the option 'timeout_s'"),
        (["--option", "timeout_s"], "fixed", "KEY=VALUE"),
        (["--sleep-s", "2"], "learned", "needs --sleep-w"),
        (["--slo-p95-s", "-1"], "learned", "latency limit"),
        (["--seed", "-1"], "learned", "--seed -1"),
        (["--wake-s", "-1"], "learned", "wake_s=-1"),
        (["--wake-w", "nan"], "learned", "wake_j=nan"),
        (["--off-w", "200"], "learned", "saves nothing"),
    ],
)
def test_wrong_arguments_are_refused_in_words(requests, words, policy, expected):
    with pytest.raises(ConfigError, match=expected):
        simulate_hibernation.simulate(parsed(requests, *words, policy=policy))
