from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from overwinter.deploy import Cron

WINDOW = "{start:'30 0 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"


def rendered(deployment, *, folder="/srv", program="/bin/true", machine_zone="UTC"):
    renderer = Cron(program=program, script=f"{folder}/model.sh", state=f"{folder}/state", machine_zone=machine_zone)
    return renderer.render(deployment)


def lines_of(crontab):
    return [line for line in crontab.splitlines() if line[0] in "0123456789*@"]


def happenings(crontab, day, zone):
    """Return what a crontab does in the week from ``day``, by the clock of ``zone``, running each guard for real."""
    found = set()
    for line in lines_of(crontab):
        fields, action = line.split(" ", 5)[:5], line.split(" ", 5)[5].replace(r"\%", "%")
        for tick in CronSim(" ".join(fields), day):
            if tick >= day + timedelta(days=7):
                break
            guarded = action.replace(" date ", f" date -d @{tick.timestamp():.0f} ").replace("/srv/model.sh", "echo")
            done = subprocess.run(["sh", "-c", guarded], capture_output=True, text=True, check=True).stdout.strip()
            if done:
                found.add((done, f"{tick.astimezone(ZoneInfo(zone)):%a %H:%M}"))
    return found


@pytest.mark.parametrize("month", [1, 7])  # winter and summer time
def test_a_window_opens_and_closes_by_its_own_zone(deployed, month):
    crontab = rendered(deployed(f"serve.sleep.windows=[{WINDOW}]"))["model.crontab"]
    wanted = {("start", f"{day} 00:29") for day in ("Mon", "Tue", "Wed", "Thu", "Fri")}
    wanted |= {("stop", f"{day} 18:00") for day in ("Mon", "Tue", "Wed", "Thu", "Fri")}
    assert happenings(crontab, datetime(2027, month, 4, 12, tzinfo=UTC), "Europe/Berlin") == wanted


def test_without_a_window_it_runs_from_the_start(deployed):
    assert lines_of(rendered(deployed())["model.crontab"]) == ["@reboot /srv/model.sh start"]
    kept = deployed(f"serve.sleep.windows=[{WINDOW}]", "serve.replicas.min=1")
    assert lines_of(rendered(kept)["model.crontab"]) == ["@reboot /srv/model.sh start"]


def test_the_script_starts_one_server_and_stops_it(deployed, tmp_path):
    program = tmp_path / "overwinter"
    program.write_text(f"#!{sys.executable}\nimport sys, time\nprint(sys.argv[1:], flush=True)\ntime.sleep(60)\n")
    program.chmod(0o755)
    script = tmp_path / "model.sh"
    script.write_text(rendered(deployed(), folder=str(tmp_path), program=str(program))["model.sh"])
    with subprocess.Popen(["sh", str(script), "start"], stdout=subprocess.PIPE, text=True) as server:
        words = server.stdout.readline()
        subprocess.run(["sh", str(script), "start"], check=True, timeout=10)  # a second one leaves at once
        threading.Thread(target=server.wait).start()  # as cron does: a zombie would still seem to run
        begin_s = time.monotonic()
        subprocess.run(["sh", str(script), "stop"], check=True, timeout=30)
        server.wait(timeout=10)
    assert time.monotonic() - begin_s < 20
    assert words.startswith("['serve', '/srv/my bundle'")
    assert server.returncode == -15
    subprocess.run(["sh", str(script), "stop"], check=True, timeout=10)  # nothing runs
