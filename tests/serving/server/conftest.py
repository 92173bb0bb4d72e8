"""A server's configuration, and models whose worker is a stand-in."""

import asyncio
import sys
from pathlib import Path

import pytest

from overwinter.cli.service import load_service
from overwinter.serving import Keys
from overwinter.serving.server.accounts import Accounts, Metrics
from overwinter.serving.server.messages import Call
from overwinter.serving.server.model import Model
from overwinter.serving.server.plan import ModelPlan, Plan, make_plan, parse_plan

STAND_IN = Path(__file__).with_name("stand_in_worker.py")


@pytest.fixture(scope="session")
def service():
    return load_service(["serve.port=0"])


@pytest.fixture
def settings(service, tmp_path):
    """The group `serve/` as the supervisor sees it; made afresh for each test."""
    serve = parse_plan(make_plan(service, {}, keys=Keys()).to_json()).serve
    (tmp_path / "notes").touch()
    serve.worker.launcher = [sys.executable, "-S", "-E", str(STAND_IN), str(tmp_path / "notes")]
    serve.worker.backoff_s = 0.001
    return serve


class Served:
    """A model in a running loop, with what was noted of it."""

    def __init__(self, model, log, notes):
        self.model, self.log, self._notes = model, log, notes

    async def ask(self, text, *, deadline_s=10.0, idempotent=True):
        call = Call(operation="infer", headers={}, body=text.encode(), deadline_s=deadline_s, idempotent=idempotent)
        return (await self.model.ask(call)).body.decode()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    def count(self, word):
        return self._notes.read_text().split().count(word)


@pytest.fixture
def run_with_model(settings, tmp_path):
    """Run a coroutine function on a served model, and end it in order."""

    def run(scenario, *, bundle="bundle"):
        async def whole():
            log = []
            model = Model(
                ModelPlan(name="m", bundle=bundle, digest="d" * 64, runtime="none", metadata={"versions": ["d"]}),
                plan=Plan(models=(), trusted=(), keys=(), opening=(), serve=settings),
                accounts=Accounts("m", draws=settings.draws, metrics=Metrics(), log=lambda *_, **__: None),
                log=lambda event, **facts: log.append({"event": event, **facts}),
            )
            model.start()
            try:
                return await scenario(Served(model, log, tmp_path / "notes"))
            finally:
                await model.close()

        return asyncio.run(whole())

    return run
