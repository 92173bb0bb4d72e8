import pytest

from overwinter.hibernation.wishes import parse_wish
from overwinter.serving.server.messages import RequestError


def wish(chat=False, defaults=None, **content):
    return parse_wish(content, [1, 2], defaults or {}, room=50, chat=chat)


def test_nothing_said_is_what_openai_says():
    assert (wish().most_tokens, wish(chat=True).most_tokens) == (16, 50)
    assert (wish().temperature, wish().top_p, wish().stop, wish().seed) == (1.0, 1.0, (), None)


def test_the_models_own_defaults_hold_if_it_was_made_for_drawing():
    assert wish(defaults={"do_sample": True, "temperature": 0.2, "top_p": 0.9}).temperature == 0.2
    assert wish(defaults={"temperature": 0.2}).temperature == 1.0
    assert wish(defaults={"do_sample": True, "temperature": 0.2}, temperature=0).temperature == 0


def test_what_is_said_holds_within_the_room():
    found = wish(chat=True, max_completion_tokens=7, max_tokens=9, stop="x", seed=-1, temperature=0.5, top_p=0.25)
    assert (found.most_tokens, found.stop, found.seed) == (7, ("x",), 2**64 - 1)
    assert (found.temperature, found.top_p) == (0.5, 0.25)
    assert wish(max_tokens=1000).most_tokens == 50


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
    ],
)
def test_what_is_wrong_or_not_offered_is_refused(content):
    with pytest.raises(RequestError, match=next(iter(content))):
        wish(**content)
