import pytest

from overwinter.serving.messages import RequestError
from overwinter.serving.worker.sampling_params import parse_sampling_params, parse_streaming


def sampling(chat=False, defaults=None, **content):
    return parse_sampling_params(content, [1, 2], defaults or {}, room=50, chat=chat)


def test_defaults_are_openais():
    assert (sampling().max_tokens, sampling(chat=True).max_tokens) == (16, 50)
    assert (sampling().temperature, sampling().top_p, sampling().stop, sampling().seed) == (1.0, 1.0, (), None)


def test_the_models_own_defaults_hold_if_it_was_made_for_drawing():
    assert sampling(defaults={"do_sample": True, "temperature": 0.2, "top_p": 0.9}).temperature == 0.2
    assert sampling(defaults={"temperature": 0.2}).temperature == 1.0
    assert sampling(defaults={"do_sample": True, "temperature": 0.2}, temperature=0).temperature == 0


def test_what_is_reported_holds_within_the_room():
    found = sampling(chat=True, max_completion_tokens=7, max_tokens=9, stop="x", seed=-1, temperature=0.5, top_p=0.25)
    assert (found.max_tokens, found.stop, found.seed) == (7, ("x",), 2**64 - 1)
    assert (found.temperature, found.top_p) == (0.5, 0.25)
    assert sampling(max_tokens=1000).max_tokens == 50


@pytest.mark.parametrize(
    "content",
    [
        {"n": 2},
        {"logprobs": 3},
        {"tools": [{}]},
        {"frequency_penalty": 0.5},
        {"max_tokens": 0},
        {"max_tokens": "7"},
        {"temperature": 3},
        {"temperature": True},
        {"top_p": -0.1},
        {"seed": 1.5},
        {"stop": ["a", ""]},
        {"stop": list("abcde")},
        {"stop": 7},
        {"stop": ["a"] * 5000},
        {"max_tokens": -1},
        {"max_tokens": 1.0},
        {"temperature": 1e308},
        {"temperature": float("inf")},
        {"temperature": "1"},
        {"top_p": 10**400},
        {"logit_bias": {"7": 100}},
        {"logit_bias": [[[[[[]]]]]]},
        {"response_format": {"type": "json_object"}},
        {"seed": True},
    ],
)
def test_what_is_wrong_or_not_offered_is_refused(content):
    with pytest.raises(RequestError, match=next(iter(content))):
        sampling(**content)


def test_numbers_beyond_all_bounds_are_within_the_room():
    assert sampling(max_tokens=10**4000, seed=-(10**4000)).max_tokens == 50


def test_a_wrong_length_of_a_chat_is_named_as_it_was_asked():
    with pytest.raises(RequestError, match="`max_completion_tokens`"):
        sampling(chat=True, max_completion_tokens=0, max_tokens=7)


def test_how_a_response_comes():
    assert parse_streaming({}) == (False, False)
    assert parse_streaming({"stream": True, "stream_options": {"include_usage": True}}) == (True, True)
    for wrong in ({"stream": 1}, {"stream_options": True}, {"stream_options": {"include_usage": "no"}}):
        with pytest.raises(RequestError):
            parse_streaming(wrong)
