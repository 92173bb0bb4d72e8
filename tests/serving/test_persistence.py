"""What a model keeps: seen from the model, with a stand-in worker."""

import dataclasses
import json

import pytest

from overwinter.serving.messages import Call


@pytest.fixture
def kept(settings, tmp_path):
    settings.state = str(tmp_path / "state")
    return tmp_path / "state" / "models" / "m"


def joules_of_never_asleep(state):
    """Of the policy `learned`: they grow with every idle period."""
    return state["sums_j"][0][-1]


def test_a_policy_goes_on_with_what_it_had_learned(run_with_model, settings, kept):
    settings.sleep.policy = "learned"

    async def ask_twice(served):
        for text in ("one", "two"):
            await served.ask(text)
        return joules_of_never_asleep(served.model._policy.state())

    first = run_with_model(ask_twice)
    saved = joules_of_never_asleep(json.loads((kept / "policy.json").read_text()))
    assert first > 0
    assert run_with_model(ask_twice) > saved >= first


def test_a_damaged_state_is_left_out(run_with_model, settings, kept):
    settings.sleep.policy = "learned"
    kept.mkdir(parents=True)
    (kept / "policy.json").write_text('{"policy": "learned"')

    async def scenario(served):
        return await served.ask("one"), [entry["event"] for entry in served.log]

    assert run_with_model(scenario) == ("echo one", ["not restored"])


def test_a_kept_response_wakes_nothing(run_with_model, settings, kept):
    settings.persistence.response_cache_bytes = 10_000
    call = Call(operation="infer", headers={}, body=b"one", deadline_s=5.0, repeatable=True)

    async def scenario(served):
        reply = await served.model.ask(call)
        await served.model.ask(dataclasses.replace(call, repeatable=False))
        return reply.body, served.count("wake"), served.model.status()["requests"]

    async def again(served):
        before = served.count("wake")
        reply = await served.model.ask(call)
        return reply.body, reply.headers["Overwinter-Response"], served.count("wake") - before, served.model.state

    assert run_with_model(scenario) == (b"echo one", 1, 2)
    assert run_with_model(again) == (b"echo one", "kept", 0, "off")
    assert (kept / "responses").is_dir()


@pytest.mark.parametrize("level", ["parked", "preforked", "off"])
def test_a_language_model_writes_its_conversation_down_before_sleep(run_with_model, settings, kept, level):
    settings.persistence.prefix_cache = True

    async def scenario(served):
        await served.ask("one")
        before = served.count("keep")
        await served.model.order(level)
        return before, served.count("keep")

    assert run_with_model(scenario, kind="language@torch") == (0, 1)


def test_a_server_that_leaves_keeps_it_too(run_with_model, settings, kept):
    settings.persistence.prefix_cache = True

    async def scenario(served):
        await served.ask("one")
        return served

    assert run_with_model(scenario, kind="language@torch").count("keep") == 1


def test_without_a_folder_nothing_is_kept(run_with_model, settings, tmp_path):
    async def scenario(served):
        await served.ask("one")
        await served.model.order("off")
        return served.count("keep")

    assert run_with_model(scenario, kind="language@torch") == 0
    assert not (tmp_path / "state").exists()
