"""Writing with a model whose next token is known, so that every rule can be seen by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.runtime.torch_language import TorchLanguageSession
from overwinter.serving.worker.generation import Kept, SamplingParams, Written, write
from tests.support.decoders import decoder, tokens

ALPHABET = "abcdefghij"
END = len(ALPHABET)


class Script:
    """Says its letters one after the other, then ends; counts what it reads."""

    def __init__(self, text, *, begins=1):
        self.tokens = [ALPHABET.index(letter) for letter in text] + [END]
        self.begins, self.read = begins, 0

    def step(self, tokens, kept=None):
        self.read += tokens.shape[1]
        seen = (kept.seen if kept else 0) + tokens.shape[1]
        logits = np.zeros((1, END + 1), dtype=np.float32)
        logits[0, self.tokens[min(seen - self.begins, len(self.tokens) - 1)]] = 5.0
        return logits, _Seen(seen)


class _Seen:
    can_crop = True

    def __init__(self, seen):
        self.seen = seen

    def crop(self, count):
        self.seen -= count


def written(script, *, kept=None, may_go_on=lambda: True, prompt=(0,), **sampling):
    record = Written()
    pieces = write(
        script,
        SamplingParams(prompt=prompt, **{"max_tokens": 100} | sampling),
        decode=lambda token: ALPHABET[token],
        ends=frozenset({END}),
        kept=kept or Kept(),
        may_go_on=may_go_on,
        written=record,
    )
    return "".join(piece.text for piece in pieces), record


def test_it_ends_where_the_model_does():
    text, record = written(Script("badge"))
    assert (text, record.reason, len(record.tokens)) == ("badge", "stop", 5)


def test_it_ends_after_as_many_tokens_as_were_asked_for_and_reads_no_more():
    script = Script("badge")
    text, record = written(script, max_tokens=3)
    assert (text, record.reason, script.read) == ("bad", "length", 3)


def test_it_ends_when_it_may_not_go_on():
    left = [True, True, False]
    assert written(Script("badge"), may_go_on=lambda: left.pop(0))[0] == "ba"


@given(text=st.text(ALPHABET, max_size=30), stops=st.lists(st.text(ALPHABET, min_size=1, max_size=3), max_size=4))
def test_a_stop_text_and_what_follows_is_never_shown(text, stops):
    shown, record = written(Script(text), stop=tuple(stops))
    places = [text.find(stop) for stop in stops if stop in text]
    # A stop text is noticed as soon as it is complete, even where another one would have begun earlier.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not places:
        assert shown == text
    else:
        seen = text[: min(ends)]
        assert shown == text[: min(seen.find(stop) for stop in stops if stop in seen)]
    assert record.reason == "stop"


def test_equal_seeds_draw_equal_texts_and_temperature_zero_the_most_probable():
    power_draw = [written(Script("badge"), temperature=2.0, seed=seed, max_tokens=20)[0] for seed in (1, 1, 2)]
    assert power_draw[0] == power_draw[1]
    assert len({*power_draw, "badge"}) == 3
    assert written(Script("badge"), temperature=2.0, top_p=0.0)[0] == "badge"


def test_a_nucleus_draws_only_the_most_probable_in_their_proportion():
    class Three:
        def step(self, tokens, kept=None):
            return np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float64)), None

    record = Written()
    sampling = SamplingParams(prompt=[0], max_tokens=2000, temperature=1.0, top_p=0.7, seed=0)
    for _ in write(
        Three(), sampling, decode=str, ends=frozenset(), kept=Kept(), may_go_on=lambda: True, written=record
    ):
        pass
    assert set(record.tokens) == {0, 1}
    assert record.tokens.count(0) / 2000 == pytest.approx(0.625, abs=0.04)


def test_a_prompt_that_begins_like_the_last_conversation_is_not_read_again():
    script, kept = Script("bad"), Kept()
    written(script, kept=kept, prompt=(0, 1, 2, 3), max_tokens=1)
    assert script.read == 4
    script.begins = 6
    text, _ = written(script, kept=kept, prompt=(0, 1, 2, 3, 4, 5))
    assert (text, script.read) == ("bad", 4 + 2 + 3)
    script.begins = 3
    assert written(script, kept=kept, prompt=(0, 1, 9))[0] == "bad"
    assert script.read == 9 + 1 + 3


def scored(script, **sampling):
    pieces = list(
        write(
            script,
            SamplingParams(prompt=[0], **{"max_tokens": 100, "top_logprobs": 2} | sampling),
            decode=lambda token: None if token == 0 else "aX" if token == 1 else ALPHABET[token],  # `a` comes with `b`
            ends=frozenset({END}),
            kept=Kept(),
            may_go_on=lambda: True,
            written=Written(),
        )
    )
    return [(piece.text, [(ALPHABET[score.token], score.offset) for score in piece.scores]) for piece in pieces], pieces


def test_each_piece_has_the_scores_of_its_tokens():
    found, pieces = scored(Script("cabc"))
    assert found == [("c", [("c", 0)]), ("aX", [("a", 1), ("b", 1)]), ("c", [("c", 3)])]
    score = pieces[0].scores[0]
    others = len(ALPHABET)  # with a logit of 0; the written one has 5
    assert score.logprob == pytest.approx(5 - np.log(np.exp(5) + others))
    assert score.top[0] == (score.token, score.logprob)
    assert len(score.top) == 2


def test_temperature_changes_no_score():
    _, pieces = scored(Script("c"), temperature=0.5, seed=0, top_k=1)
    assert pieces[0].scores[0].logprob == pytest.approx(5 - np.log(np.exp(5) + len(ALPHABET)))


def test_tokens_without_a_text_have_scores_in_the_last_piece():
    assert scored(Script("ca"))[0] == [("c", [("c", 0)]), ("", [("a", 1)])]
    assert scored(Script("cde"), stop=("de",))[0] == [("c", [("c", 0)]), ("", [("d", 1), ("e", 2)])]
    assert scored(Script("cde"), stop=("dz",))[0] == [("c", [("c", 0)]), ("de", [("d", 1), ("e", 2)])]


def test_without_being_asked_for_there_are_none():
    assert all(not piece.scores for piece in scored(Script("cde"), top_logprobs=None)[1])


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "jamba"])
def test_a_cache_that_cannot_go_back_is_read_anew(family):
    """Sliding windows forget, recurrent states cannot be undone: a conversation that branches begins from nothing."""
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    session, kept = TorchLanguageSession(decoder(family)), Kept()
    first = tokens(1, 20)[0].tolist()
    for prompt in (first, [*first[:14], 5, 6, 7], [*first[:14], 5, 6, 7, 8]):
        logits = kept.read(session, prompt)
        np.testing.assert_allclose(logits, session.step(np.array([prompt]))[0][0], atol=1e-5)
        assert kept.tokens == prompt
