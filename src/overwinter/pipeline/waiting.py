"""The program that waits while the power policy pauses a stage, in the stage's process, without torch or a GPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from overwinter.config import find_project
from overwinter.pipeline.capping import DEADLINE, WAITED, observer
from overwinter.pipeline.invocation import configured
from overwinter.pipeline.parent_watch import watch_parent
from overwinter.power.control.pausing import PausedWork, replace_process, wait_out
from overwinter.programs import guarded


def main() -> int:
    """Wait until the policy resumes the work, then replace this process by the stage."""
    state, *command = sys.argv[1:]
    watch_parent()
    path = Path(state)
    work = PausedWork.from_json(json.loads(path.read_text(encoding="utf-8")))
    path.unlink()
    _, _, *overrides = command  # the interpreter, the program, and what it was called with
    config = configured(find_project(), overrides)
    observe = observer(work, config.carbon.open(), config.power, _log)
    policy = config.power.open()
    decision = wait_out(policy, observe, name=config.power.policy, notify=_log, interval_s=config.power.interval_s)
    _log(f"resuming: {decision.reason}")
    os.environ[WAITED] = "1"
    if work.deadline_utc is not None:
        os.environ[DEADLINE] = work.deadline_utc.isoformat()
    replace_process(command)


def _log(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(guarded(main))
