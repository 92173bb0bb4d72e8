"""From configuration to ladder and policy."""

from overwinter.serving.idle_states import make_ladder, make_policy


def test_the_ladder_has_the_configured_rungs_watts_and_wakes(settings):
    settings.sleep.rungs, settings.sleep.off_wake_s, settings.draws.off_wake_j = ["parked", "off"], 2.0, 10.0
    settings.draws.ready_w, settings.draws.parked_w, settings.draws.off_w = 5.0, 4.0, 3.0
    ladder = make_ladder(settings)
    assert [rung.name for rung in ladder.rungs] == ["ready", "parked", "off"]
    assert (ladder.rungs[2].power_w, ladder.rungs[2].wake_s, ladder.rungs[2].wake_j) == (3.0, 2.0, 16.0)


def test_preforked_costs_a_start_so_that_only_a_latency_limit_leads_there(settings):
    ladder = make_ladder(settings)
    preforked, off = ladder.rungs[2:]
    assert preforked.sleep_j + preforked.wake_j == off.wake_j
    assert [descent.rung for descent in ladder.descents] == [1, 3]
    settings.sleep.wake_p95_s = 0.1
    policy = make_policy(settings, make_ladder(settings))
    policy.began_idle(0.0)
    assert policy.decide(1e6).rung == 2


def test_a_latency_limit_keeps_a_model_on_a_rung_that_wakes_in_time(settings):
    settings.sleep.wake_p95_s = 0.05
    policy = make_policy(settings, make_ladder(settings))
    policy.began_idle(0.0)
    assert policy.decide(1e6).rung == 1


def test_windows_keep_it_ready(settings):
    settings.sleep.windows = [{"start": "0 0 * * *", "end": "0 12 * * *"}]
    policy = make_policy(settings, make_ladder(settings))
    policy.began_idle(0.0)
    assert policy.decide(6 * 3600.0).reason == "window"
    assert policy.decide(20 * 3600.0).rung == 3
