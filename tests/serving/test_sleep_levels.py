"""From configuration to sleep levels and policy."""

from overwinter.serving.sleep_levels import make_policy, make_sleep_levels


def test_the_sleep_levels_have_the_configured_watts_and_wakes(settings):
    settings.sleep.levels, settings.sleep.off_wake_s, settings.power_draw.off_wake_j = ["parked", "off"], 2.0, 10.0
    settings.power_draw.ready_w, settings.power_draw.parked_w, settings.power_draw.off_w = 5.0, 4.0, 3.0
    sleep_levels = make_sleep_levels(settings)
    assert [level.name for level in sleep_levels.levels] == ["ready", "parked", "off"]
    assert (sleep_levels.levels[2].power_w, sleep_levels.levels[2].wake_s, sleep_levels.levels[2].wake_j) == (
        3.0,
        2.0,
        16.0,
    )


def test_preforked_costs_a_start_so_that_only_a_latency_limit_leads_there(settings):
    sleep_levels = make_sleep_levels(settings)
    preforked, off = sleep_levels.levels[2:]
    assert preforked.sleep_j + preforked.wake_j == off.wake_j
    assert [descent.level for descent in sleep_levels.descents] == [1, 3]
    settings.sleep.wake_p95_s = 0.1
    policy = make_policy(settings, make_sleep_levels(settings))
    policy.began_idle(0.0)
    assert policy.decide(1e6).level == 2


def test_a_latency_limit_keeps_a_model_on_a_level_that_wakes_in_time(settings):
    settings.sleep.wake_p95_s = 0.05
    policy = make_policy(settings, make_sleep_levels(settings))
    policy.began_idle(0.0)
    assert policy.decide(1e6).level == 1


def test_windows_keep_it_ready(settings):
    settings.sleep.windows = [{"start": "0 0 * * *", "end": "0 12 * * *"}]
    policy = make_policy(settings, make_sleep_levels(settings))
    policy.began_idle(0.0)
    assert policy.decide(6 * 3600.0).reason == "window"
    assert policy.decide(20 * 3600.0).level == 3
