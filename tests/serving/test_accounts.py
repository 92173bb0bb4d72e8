"""A server's entries in the ledger: what they say, when a day ends, and what is left after kill -9."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from overwinter.bundle import Keys
from overwinter.ledger import Ledger, merge_ledgers
from overwinter.report.page.ledger_report import report_ledgers
from overwinter.serving import make_plan
from overwinter.serving.accounts import Accounts
from overwinter.serving.metrics import Metrics, ModelMetrics
from overwinter.serving.plan import LedgerPlan

DRAW = {"ready_w": 2.0, "parked_w": 1.0, "preforked_w": 1.0, "off_w": 0.5, "responding_w": 8.0}
DRAW |= {"parked_wake_j": 1.0, "preforked_wake_j": 2.0, "off_wake_j": 5.0, "uncertainty_w": 0.1}


class Day:
    """A server's clock, its model's metrics, and its entries."""

    def __init__(self, folder, *, source="rapl", g_per_kwh=360.0, present=None):
        self.now, self.begin = datetime(2026, 10, 31, 23, 0, tzinfo=UTC), datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
        self.log = []
        self.metrics = ModelMetrics(
            "digits",
            power_draw=SimpleNamespace(source=source, wake_uncertainty_j=0.0, **DRAW),
            metrics=Metrics(),
            log=lambda *_, **__: None,
            now_s=self._now_s,
        )
        self.path = folder / ".overwinter" / "ledger.sqlite"
        plan = LedgerPlan(path=self.path, project="shop", person="Ada", interval_s=60.0, g_per_kwh=g_per_kwh)
        carbon = SimpleNamespace(present_g_per_kwh=present, points=lambda: asyncio.sleep(0))
        self.accounts = Accounts(
            plan,
            {"digits": self.metrics},
            carbon=carbon,
            log=lambda event, **facts: self.log.append({"event": event, **facts}),
            now=lambda: self.now,
        )

    def _now_s(self):
        return (self.now - self.begin).total_seconds()

    def stay(self, state, seconds, *, responding_s=0.0):
        self.metrics.entered("first", state, reason="test")
        self.now += timedelta(seconds=seconds)
        self.metrics.responding_s += responding_s

    def write(self):
        asyncio.run(self.accounts.write())

    def entries(self):
        return Ledger.open(self.path).executions(documents=True)


def test_an_entry_has_the_joules_of_states_wakes_and_responses(tmp_path):
    day = Day(tmp_path)
    day.stay("off", 100)
    day.stay("waking", 1)
    day.stay("ready", 10, responding_s=3)
    day.metrics.answered(200, within_s=0.1)
    day.write()
    (entry,) = day.entries()
    assert (entry.stage, entry.project, entry.person, entry.status) == ("serve: digits", "shop", "Ada", "running")
    joules = {"off": 50.0, "waking": 0.5 + 5.0, "ready": 20.0, "responding": 24.0, "parked": 0.0, "preforked": 0.0}
    assert entry.energy_j == pytest.approx(sum(joules.values()))
    assert entry.carbon_g == pytest.approx(entry.energy_j / 3.6e6 * 360)
    assert entry.measured_fraction == 1.0
    assert entry.uncertainty_j == pytest.approx(0.1 * (111 + 3))
    of_model = entry.metrics["models"]["digits"]
    assert of_model["energy_j"] == pytest.approx(joules)
    assert of_model["requests"] == 1


def test_every_day_has_an_entry_of_its_own_and_no_joule_is_in_two(tmp_path):
    day = Day(tmp_path)
    day.stay("ready", 3000)
    day.write()
    day.stay("ready", 1000)
    day.write()
    day.stay("off", 10)
    asyncio.run(day.accounts.close())
    first, second = day.entries()
    assert (first.status, second.status) == ("done", "done")
    assert (first.energy_j, second.energy_j) == pytest.approx((8000, 5))
    assert second.metrics["models"]["digits"]["energy_j"]["ready"] == 0


def test_guessed_watts_are_not_measured_and_doubted_whole(tmp_path):
    day = Day(tmp_path, source=None)
    day.stay("ready", 10)
    day.write()
    (entry,) = day.entries()
    assert (entry.measured_fraction, entry.uncertainty_j, entry.metrics["energy_basis"]) == (0.0, 20.0, "guessed")


@pytest.mark.parametrize(("present", "carbon_g"), [(720.0, 20 / 3.6e6 * 720), (None, None)])
def test_a_varying_intensity_is_asked_for_and_an_unknown_one_gives_no_grams(tmp_path, present, carbon_g):
    day = Day(tmp_path, g_per_kwh=None, present=present)
    day.stay("ready", 10)
    day.write()
    (entry,) = day.entries()
    assert entry.carbon_g == (carbon_g and pytest.approx(carbon_g))


def test_a_ledger_that_cannot_be_written_is_logged_and_stops_nothing(tmp_path):
    (tmp_path / ".overwinter").write_text("in the way")
    day = Day(tmp_path)
    day.stay("ready", 10)
    day.write()
    assert [line["event"] for line in day.log] == ["ledger"]


@pytest.fixture
def plan(service, tmp_path, monkeypatch):
    """The plan of a server without models in a project, recording every second."""
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVERWINTER_PERSON", "Ada")
    return json.loads(make_plan(service, {}, keys=Keys()).to_json())


def test_a_project_has_a_ledger_and_a_folder_outside_one_has_none(plan, service, tmp_path, monkeypatch):
    assert plan["ledger"]["path"] == str(tmp_path / ".overwinter/ledger.sqlite")
    assert (plan["ledger"]["project"], plan["ledger"]["person"]) == (tmp_path.name, "Ada")
    assert plan["ledger"]["g_per_kwh"] > 0
    (tmp_path / ".dvc").rmdir()
    assert make_plan(service, {}, keys=Keys()).ledger is None


def test_what_a_killed_server_spent_is_in_reports_of_merged_ledgers(plan, tmp_path):
    plan["ledger"]["interval_s"] = 0.1
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(plan).encode())
        file.seek(0)
        command = [sys.executable, "-m", "overwinter.serving", str(file.fileno())]
        server = subprocess.Popen(command, pass_fds=[file.fileno()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with server:
        server.stdout.readline()
        own = Ledger.open(tmp_path / ".overwinter" / "ledger.sqlite")
        until_s = time.monotonic() + 10
        while own.executions()[0].heartbeats < 3:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        server.send_signal(signal.SIGKILL)
    (closed,) = own.reap()
    assert (closed.stage, closed.energy_j) == ("serve: ", 0.0)
    merge_ledgers([own.path], tmp_path / "all.sqlite")
    (group,) = report_ledgers([tmp_path / "all.sqlite"], by=("project", "person", "month")).groups
    assert group.keys[:2] == (tmp_path.name, "Ada")
    assert (group.executions, group.pipeline_kwh, group.wasted_kwh) == (1, 0.0, 0.0)


def test_a_report_counts_the_joules_of_servers_as_served(tmp_path):
    day = Day(tmp_path)
    day.stay("ready", 1800)
    day.write()
    total = report_ledgers([day.path], by=("month",)).total
    assert total.served_kwh == pytest.approx(total.energy_kwh) == pytest.approx(0.001)
    assert (total.pipeline_kwh, total.commands_kwh, total.scripts_kwh) == (0.0, 0.0, 0.0)
