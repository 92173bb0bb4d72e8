"""Queue, wakes, crashes, rest and replicas, with real processes whose program is a stand-in."""

import asyncio
import os
import signal

import pytest

from overwinter.errors import ConfigError
from overwinter.serving.messages import RequestError
from overwinter.serving.model import CLIENT_LEFT
from overwinter.serving.replica import WakeRefused

LEVELS = ("parked", "preforked", "off")


def test_a_request_wakes_the_model_and_the_next_finds_it_awake(run_with_model):
    async def scenario(served):
        assert served.model.state == "off"
        assert await served.ask("one") == "echo one"
        assert await served.ask("two") == "echo two"
        assert served.model.state == "ready"
        return served.count("wake"), served.model.status()

    wakes, status = run_with_model(scenario)
    assert (wakes, status["wakes"], status["requests"], status["crashes"]) == (1, 1, 2, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_it_sleeps_where_the_user_says_until_it_is_asked(run_with_model, level):
    async def scenario(served):
        await served.ask("one")
        await served.model.order(level)
        assert served.model.state == level
        assert (served.model.status()["workers"] == []) == (level == "off")
        assert await served.ask("two") == "echo two"
        await served.model.order(level)
        await served.model.order("ready")
        assert served.model.state == "ready"

    run_with_model(scenario)


def test_it_goes_down_the_sleep_levels_by_itself(run_with_model, settings):
    settings.sleep.policy, settings.sleep.options = "fixed", {"timeout_s": 0.02}

    async def scenario(served):
        await served.ask("one")
        await served.until(lambda: served.model.state == "off")
        return served.model.why

    assert run_with_model(scenario) == "time-out"


def test_it_says_why_it_is_asleep_or_awake_and_when_it_decides_again(run_with_model, settings):
    settings.sleep.policy, settings.sleep.options = "fixed", {"timeout_s": 60.0}

    async def scenario(served):
        message = [served.model.status()["why"]]
        await served.ask("one")
        await served.until(lambda: served.model.why == "busy lately")
        status = served.model.status()
        assert 50 < status["next_decision_in_s"] <= 60
        await served.model.order("off")
        await served.until(lambda: served.model.status()["next_decision_in_s"] is None)
        return [*message, served.model.status()["why"]]

    assert run_with_model(scenario) == ["no request yet", "by hand"]


def test_sleep_levels_without_off_start_below(run_with_model, settings):
    settings.sleep.levels, settings.sleep.policy, settings.sleep.options = ["parked"], "fixed", {"timeout_s": 0.02}

    async def scenario(served):
        await asyncio.sleep(0.05)
        assert served.model.state == "off"
        assert await served.ask("one") == "echo one"
        await served.until(lambda: served.model.state == "parked")
        with pytest.raises(ConfigError, match="'off' is unknown"):
            await served.model.order("off")
        return await served.ask("two")

    assert run_with_model(scenario) == "echo two"


def test_sleep_waits_for_requests_under_way(run_with_model):
    async def scenario(served):
        await served.ask("wake up")
        asked = asyncio.create_task(served.ask("sleep 0.2"))
        await asyncio.sleep(0.05)
        await served.model.order("off")
        assert asked.done() or await asyncio.wait_for(asked, 0.05)
        assert await asked == "echo sleep 0.2"
        assert served.model.state == "off"

    run_with_model(scenario)


def test_a_request_is_asked_again_when_a_worker_dies_over_it(run_with_model):
    async def scenario(served):
        assert await served.ask("die_once") == "echo die_once"
        return served.count("died"), served.model.status()["crashes"]

    assert run_with_model(scenario) == (1, 1)


@pytest.mark.parametrize(("idempotent", "deaths"), [(True, 2), (False, 1)])
def test_a_request_that_kills_is_given_up(run_with_model, idempotent, deaths):
    async def scenario(served):
        with pytest.raises(RequestError, match="died during this request") as refusal:
            await served.ask("die", idempotent=idempotent)
        assert await served.ask("after") == "echo after"
        return served.count("died"), refusal.value.status

    assert run_with_model(scenario) == (deaths, 503)


def test_a_worker_killed_while_it_sleeps_is_started_again(run_with_model):
    async def scenario(served):
        await served.ask("one")
        (first,) = served.model.status()["workers"]
        os.kill(first, signal.SIGKILL)
        await served.until(lambda: served.model.status()["workers"] not in ([], [first]))
        await served.until(lambda: served.model.state == "ready")
        return await served.ask("two"), [entry["event"] for entry in served.log]

    assert run_with_model(scenario) == ("echo two", ["crash"])


def test_a_worker_that_never_wakes_is_tried_with_growing_pauses_until_the_deadline(run_with_model):
    async def scenario(served):
        with pytest.raises(RequestError, match=r"No response within 1\.5 s") as refusal:
            await served.ask("one", deadline_s=1.5)
        return refusal.value.reply().headers["Retry-After"], [entry["pause_s"] for entry in served.log]

    retry_after, pauses = run_with_model(scenario, bundle="crashes")
    assert retry_after == "1"
    assert len(pauses) >= 2
    assert pauses == [0.001 * 2**place for place in range(len(pauses))]


def test_a_model_whose_wakes_run_out_of_time_is_refused_until_the_user_wakes_it(run_with_model, settings):
    settings.worker.wake_s = 0.5

    async def scenario(served):
        for _ in range(2):
            with pytest.raises(RequestError, match=r"not served: 3 wakes in a row took longer than 0\.5 s"):
                await served.ask("one")
        assert served.count("wake") == 3
        with pytest.raises(WakeRefused, match="4 wakes in a row"):
            await served.model.order("ready")
        assert served.count("wake") == 4
        return served.model.state, [entry["event"] for entry in served.log]

    assert run_with_model(scenario, bundle="slow") == ("off", ["crash", "crash", "refused", "refused"])


def test_a_model_that_wakes_in_time_at_last_is_served(run_with_model, settings):
    settings.worker.wake_s = 1.0

    async def scenario(served):
        assert await served.ask("one") == "echo one"
        return served.model.status()["refused"], served.count("wake")

    assert run_with_model(scenario, bundle="slow_twice") == (None, 3)


def test_an_altered_bundle_is_refused_and_not_tried_again(run_with_model):
    async def scenario(served):
        for _ in range(2):
            with pytest.raises(RequestError, match="the canary sings otherwise"):
                await served.ask("one")
        assert served.count("wake") == 1
        with pytest.raises(WakeRefused):
            await served.model.order("ready")
        return served.model.state, served.model.status()["refused"]

    assert run_with_model(scenario, bundle="altered") == ("off", "the canary sings otherwise")


def test_the_queue_is_bounded(run_with_model, settings):
    settings.limits.queue = 2

    async def scenario(served):
        await served.ask("one")
        asked = [asyncio.create_task(served.ask("sleep 0.1")) for _ in range(5)]
        done = await asyncio.gather(*asked, return_exceptions=True)
        return sorted(str(outcome) for outcome in done)

    outcomes = run_with_model(scenario)
    assert outcomes[-2:] == ["echo sleep 0.1"] * 2
    assert outcomes[0] == "Too many requests wait for this model. Try again."


def test_who_waits_longer_than_the_deadline_is_reported_so_and_its_request_is_dropped(run_with_model):
    async def scenario(served):
        await served.ask("one")
        slow = asyncio.create_task(served.ask("sleep 0.3"))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match=r"No response within 0\.05 s"):
            await served.ask("late", deadline_s=0.05)
        assert served.model.status()["queue"] == 0
        return await slow

    assert run_with_model(scenario) == "echo sleep 0.3"


def test_a_silent_worker_is_ended(run_with_model, settings):
    settings.limits.response_s = 0.2

    async def scenario(served):
        with pytest.raises(RequestError):
            await served.ask("sleep 60", deadline_s=0.3)
        await served.until(lambda: served.model.status()["crashes"] >= 1)
        return await served.ask("next")

    assert run_with_model(scenario) == "echo next"


def test_replicas_come_with_the_queue_and_leave_without_work(run_with_model, settings):
    settings.replicas.max, settings.replicas.queue_per_replica, settings.replicas.idle_s = 3, 1, 0.05

    async def scenario(served):
        await served.ask("one")
        asked = [asyncio.create_task(served.ask("sleep 0.1")) for _ in range(12)]
        await served.until(lambda: served.model.status()["replicas"] == 3)
        responses = await asyncio.gather(*asked)
        await served.until(lambda: served.model.status()["replicas"] == 1)
        return set(responses)

    assert run_with_model(scenario) == {"echo sleep 0.1"}


def test_a_replica_comes_when_requests_wait_too_long(run_with_model, settings):
    settings.replicas.max, settings.replicas.queue_per_replica, settings.replicas.wait_s = 2, 100, 0.05

    async def scenario(served):
        await served.ask("one")
        asked = [asyncio.create_task(served.ask("sleep 0.02")) for _ in range(2)]
        await asyncio.gather(*asked)
        assert served.model.status()["replicas"] == 1
        asked = [asyncio.create_task(served.ask("sleep 0.2")) for _ in range(6)]
        await served.until(lambda: served.model.status()["replicas"] == 2)
        return set(await asyncio.gather(*asked))

    assert run_with_model(scenario) == {"echo sleep 0.2"}


def test_replicas_come_once_the_first_is_awake_for_who_waited_meanwhile(run_with_model, settings):
    settings.replicas.max, settings.replicas.queue_per_replica = 2, 1

    async def scenario(served):
        asked = [asyncio.create_task(served.ask("sleep 0.1")) for _ in range(6)]
        await served.until(lambda: served.model.status()["replicas"] == 2)
        return set(await asyncio.gather(*asked))

    assert run_with_model(scenario) == {"echo sleep 0.1"}


def test_the_fewest_replicas_are_ready_unasked(run_with_model, settings):
    settings.replicas.min, settings.replicas.max = 2, 2

    async def scenario(served):
        await served.until(lambda: served.count("wake") == 2 and served.model.state == "ready")
        return served.model.why

    assert run_with_model(scenario) == "replicas.min"


def test_a_window_wakes_the_model(run_with_model, settings):
    settings.sleep.windows = [{"start": "* * * * *", "end": "0 0 1 1 *"}]

    async def scenario(served):
        await served.until(lambda: served.model.state == "ready")
        return served.model.why

    assert run_with_model(scenario) == "window"


def test_an_unknown_level_is_named(run_with_model):
    async def scenario(served):
        with pytest.raises(ConfigError, match="'deep' is unknown"):
            await served.model.order("deep")

    run_with_model(scenario)


def test_a_response_in_parts_comes_as_it_is_written(run_with_model):
    async def scenario(served):
        reply = await served.reply("stream 5")
        assert [part async for part in reply.body] == [b"part"] * 5
        return await served.ask("next")

    assert run_with_model(scenario) == "echo next"


@pytest.mark.parametrize("word", ["break", "die_late"])
def test_a_response_that_breaks_off_says_so(run_with_model, word):
    async def scenario(served):
        reply = await served.reply(f"stream {word} 2")
        assert [part async for part in reply.body] == [b"part", b"part", b"broken"]
        return await served.ask("next")

    assert run_with_model(scenario) == "echo next"


def test_a_response_that_no_one_reads_ends_early(run_with_model):
    async def scenario(served):
        reply = await served.reply("stream 1000")
        reply.body.abandon()
        assert await served.ask("next") == "echo next"
        return served.count("cancelled")

    assert run_with_model(scenario) == 1


def test_sleep_waits_for_a_response_in_parts(run_with_model):
    async def scenario(served):
        reply = await served.reply("stream 10")
        await served.model.order("off")
        return [part async for part in reply.body]

    assert run_with_model(scenario) == [b"part"] * 10


def counted(served, status):
    return served.model.model_metrics._metrics.requests.labels("m", status)._value.get()


def test_no_one_is_answered_who_has_left_while_waiting(run_with_model):
    async def scenario(served):
        await served.ask("wake up")
        busy = asyncio.create_task(served.ask("sleep 0.2"))
        await asyncio.sleep(0.05)
        queued = asyncio.create_task(served.ask("die"))
        await asyncio.sleep(0.05)
        for task in (queued, busy):
            task.cancel()
        assert await served.ask("next") == "echo next"
        return served.count("died"), counted(served, CLIENT_LEFT), counted(served, 200), served.model.status()["queue"]

    assert run_with_model(scenario) == (0, 2, 2, 0)


def test_a_model_that_woke_for_no_one_answers_the_next(run_with_model):
    async def scenario(served):
        gone = asyncio.create_task(served.ask("die"))
        await served.until(lambda: served.model.state == "waking")
        gone.cancel()
        await served.until(lambda: served.count("wake") == 1)
        return await served.ask("next"), served.count("died"), counted(served, CLIENT_LEFT)

    assert run_with_model(scenario) == ("echo next", 0, 1)


def test_a_text_is_ended_when_its_client_leaves(run_with_model):
    async def scenario(served):
        await served.ask("wake up")
        gone = asyncio.create_task(served.ask("write 9"))
        await asyncio.sleep(0.05)
        gone.cancel()
        return await served.ask("next"), served.count("cancelled"), counted(served, CLIENT_LEFT)

    assert run_with_model(scenario) == ("echo next", 1, 1)
