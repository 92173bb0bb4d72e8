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
    assert sampling(defaults={"do_sample": True, "top_k": 20, "min_p": 0.1, "top_p": None}).top_k == 20
    assert sampling(defaults={"temperature": 0.2, "top_k": 20}) == sampling()
    assert sampling(defaults={"do_sample": True, "temperature": 0.2}, temperature=0).temperature == 0


def test_what_is_reported_holds_within_the_room():
    found = sampling(chat=True, max_completion_tokens=7, max_tokens=9, stop="x", seed=-1, temperature=0.5, top_p=0.25)
    assert (found.max_tokens, found.stop, found.seed) == (7, ("x",), 2**64 - 1)
    assert (found.temperature, found.top_p) == (0.5, 0.25)
    assert sampling(max_tokens=1000).max_tokens == 50


@pytest.mark.parametrize(
    "content",
    [
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
        {"seed": True},
        {"top_k": -2},
        {"top_k": 1.0},
        {"top_k": True},
        {"min_p": 1.5},
        {"min_p": "0.1"},
        {"logprobs": 6},
        {"logprobs": -1},
        {"logprobs": True},
        {"logprobs": "2"},
    ],
)
def test_what_is_wrong_is_refused(content):
    with pytest.raises(RequestError, match=next(iter(content))):
        sampling(**content)


def test_log_probabilities_are_asked_for_in_two_ways():
    assert [sampling(logprobs=value).top_logprobs for value in (None, False, 0, 5)] == [None, None, 0, 5]
    chats = [{}, {"logprobs": False, "top_logprobs": 0}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 20}]
    assert [sampling(chat=True, **content).top_logprobs for content in chats] == [None, None, 0, 20]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 1.0}, "top_logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_wrong_log_probabilities_of_a_chat_are_refused(content, field):
    with pytest.raises(RequestError, match=f"^`{field}`"):
        sampling(chat=True, **content)


def test_all_tokens_have_two_names():
    assert [sampling(top_k=value).top_k for value in (-1, 0, None, 7)] == [0, 0, 0, 7]


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
