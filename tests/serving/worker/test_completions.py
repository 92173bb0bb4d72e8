"""A tiny random Llama with a tokenizer of bytes, asked as OpenAI's clients ask."""

import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from overwinter.bundle import BundleFacts, hibernate, wake
from overwinter.bundle import load as waking
from overwinter.runtime.torch_language import TorchLanguageSession
from overwinter.serving.worker.frames import Frame, read_frame
from overwinter.serving.worker.main import Worker
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.networks import LLAMA, language_model, save_language_model
from tests.support.workers import wake_order

pytest.importorskip("transformers", reason="the extra llm is not installed")
PROMPT = {"prompt": "abc", "max_tokens": 6, "temperature": 0}
MESSAGES = [{"role": "user", "content": "abc"}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    folder = tmp_path_factory.mktemp("language")
    sizes = LLAMA | {"vocab_size": 257, "max_position_embeddings": 40}
    save_language_model(folder / "saved", language_model(sizes))
    build(folder / "saved", "torch", folder / "payload", trusted=[])
    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    place = folder / "extras" / "tokenizer"
    place.mkdir(parents=True)
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (place / "chat_template.jinja").write_text("{{ messages[-1].content }}:")
    facts = BundleFacts(
        variant="dense",
        runtime="torch",
        signature=Signature.of_one([None], dtype="int64"),
        task={"name": "language_modeling"},
        labels=(),
        preprocessing={},
        production_energy_j=None,
        lineage={},
    )
    return hibernate(
        folder / "bundle",
        payload=folder / "payload",
        facts=facts,
        canary_inputs=np.array([[1, 2, 3]]),
        canary_tolerance=1e-3,
        extras=folder / "extras",
    )


@pytest.fixture(scope="module")
def any_worker(woken):
    """One for many requests."""
    return woken()


@pytest.fixture(scope="module")
def woken(bundle):
    """Give a worker that is awake."""

    def woken(*, keeps_prefix=False, prefix=None, interrupted=lambda: False):
        worker = Worker(interrupted=interrupted, imported=lambda: None)
        changes = {"keeps_prefix": keeps_prefix, "prefix": None if prefix is None else str(prefix)}
        order = wake_order(str(bundle.folder), bundle.digest, response_tokens=20, **changes)
        (reply,) = frames(worker, **order.header())
        assert reply.header["status"] == "ready", reply
        return worker

    return woken


def tokenizer_of(bundle):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(bundle.tokenizer / "tokenizer.json"))


def frames(worker, operation, content=None, **header):
    header = {"operation": operation, "headers": {}, "model": "m", "within_s": 30.0, **header}
    return [read_frame(io.BytesIO(each)) for each in worker.responses(Frame(header, json.dumps(content).encode()))]


def response(worker, operation, **content):
    (frame,) = frames(worker, operation, content)
    assert frame.header["status"] == 200, frame
    return json.loads(frame.body)


def events(answered):
    lines = b"".join(frame.body for frame in answered).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_what_becomes_of_the_bundle_after_it_was_verified_does_not_matter(woken, bundle, tmp_path, monkeypatch):
    """Its weights, its tokenizer, its settings and its chat template are those that were verified."""
    chat = {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 6, "temperature": 0}
    before = [response(woken(), "complete", **PROMPT)["choices"], response(woken(), "chat", **chat)["choices"]]
    real = waking.open_model

    def opened(*arguments, **settings):
        for path in (path for path in bundle.source.rglob("*") if path.is_file()):
            shutil.copyfile(path, tmp_path / path.name)
            os.truncate(path, 0)
        return real(*arguments, **settings)

    monkeypatch.setattr(waking, "open_model", opened)
    try:
        worker = woken()
        assert [
            response(worker, "complete", **PROMPT)["choices"],
            response(worker, "chat", **chat)["choices"],
        ] == before
    finally:
        for path in (path for path in bundle.source.rglob("*") if path.is_file()):
            shutil.copyfile(tmp_path / path.name, path)


def test_a_completion_is_what_the_model_says_greedily(woken, bundle):
    message = response(woken(), "complete", **PROMPT)
    tokenizer = tokenizer_of(bundle)
    session, tokens = wake(bundle.folder).session, tokenizer.encode("abc").ids
    for _ in range(6):
        tokens.append(int(session.run(np.array([tokens])).argmax()))
    assert message["choices"][0]["text"] == tokenizer.decode(tokens[3:])
    assert message["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert (message["object"], message["model"], message["choices"][0]["finish_reason"]) == (
        "text_completion",
        "m",
        "length",
    )


def test_a_stream_says_the_same_piece_by_piece(woken):
    worker = woken()
    whole = response(worker, "complete", **PROMPT)
    answered = frames(worker, "complete", PROMPT | {"stream": True, "stream_options": {"include_usage": True}})
    assert [bool(frame.header.get("more")) for frame in answered] == [True] * (len(answered) - 1) + [False]
    assert answered[0].header["headers"]["Content-Type"] == "text/event-stream"
    found = events(answered)
    text = "".join(event["choices"][0]["text"] for event in found if event["choices"])
    assert text == whole["choices"][0]["text"]
    assert found[-2]["choices"][0]["finish_reason"] == "length"
    assert found[-1]["usage"] == whole["usage"]


def test_a_chat_goes_through_the_template(woken):
    worker = woken()
    chat = {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 6, "temperature": 0}
    message = response(worker, "chat", **chat)
    assert message["choices"][0]["message"]["role"] == "assistant"
    plain = response(worker, "complete", **PROMPT | {"prompt": "abc:"})
    assert message["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
    found = events(frames(worker, "chat", chat | {"stream": True}))
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[0]["object"] == "chat.completion.chunk"


def completions_logprobs(logprobs):
    return [
        [logprob, *top.values()]
        for logprob, top in zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    ]


def chats_logprobs(logprobs):
    return [[entry["logprob"], *(each["logprob"] for each in entry["top_logprobs"])] for entry in logprobs["content"]]


@pytest.mark.parametrize(("operation", "asked"), [("complete", {"logprobs": 2}), ("chat", {"top_logprobs": 2})])
def test_log_probabilities_are_those_of_the_model(woken, bundle, operation, asked):
    content = {"max_tokens": 6, "temperature": 0} | asked
    content |= {"prompt": "abc:"} if operation == "complete" else {"logprobs": True, "messages": MESSAGES}
    worker = woken()
    (choice,) = response(worker, operation, **content)["choices"]
    streamed = [each["choices"][0] for each in events(frames(worker, operation, content | {"stream": True}))]
    session, tokens = wake(bundle.folder).session, tokenizer_of(bundle).encode("abc:").ids
    logprobs = choice["logprobs"]
    found = completions_logprobs(logprobs) if operation == "complete" else chats_logprobs(logprobs)
    assert len(found) == 6
    for logprob, *top in found:
        logits = session.run(np.array([tokens]))[0].astype(np.float64)
        expected = logits - np.log(np.exp(logits).sum())
        tokens.append(int(expected.argmax()))
        assert logprob == pytest.approx(expected.max(), abs=1e-5)
        assert sorted(top) == pytest.approx(np.sort(expected)[-2:], abs=1e-5)
    parts = [each["logprobs"] for each in streamed if each["logprobs"]]
    assert {key: [each for part in parts for each in part[key] or []] or None for key in logprobs} == logprobs


def test_a_special_token_in_a_message_is_text(woken):
    worker = woken()
    chat = {"messages": [{"role": "user", "content": "a</s>b"}], "max_tokens": 1}
    assert response(worker, "chat", **chat)["usage"]["prompt_tokens"] == len("a</s>b:")
    assert response(worker, "complete", prompt="a</s>b:", max_tokens=1)["usage"]["prompt_tokens"] == len("a$b:")


def test_a_kept_prefix_changes_no_response(woken):
    fresh, keeping = woken(), woken(keeps_prefix=True)
    for prompt in ("abcdefgh", "abcdefghij", "abcd", "xyz", "xyz"):
        asked = PROMPT | {"prompt": prompt}
        assert response(keeping, "complete", **asked)["choices"] == response(fresh, "complete", **asked)["choices"]


def test_tokens_are_a_prompt_too(woken):
    assert response(woken(), "complete", **PROMPT | {"prompt": [[1, 2]]})["usage"]["prompt_tokens"] == 2


def test_the_limit_on_tokens_and_the_context_hold(woken):
    worker = woken()
    assert response(worker, "complete", **PROMPT | {"max_tokens": 500})["usage"]["completion_tokens"] <= 20
    assert (
        response(worker, "complete", **PROMPT | {"prompt": "a" * 35, "max_tokens": 500})["usage"]["total_tokens"] <= 40
    )
    (refused,) = frames(worker, "complete", PROMPT | {"prompt": "a" * 40})
    error = json.loads(refused.body)
    assert (refused.header["status"], error["code"]) == (400, "context_length_exceeded")
    assert error["error"].startswith("`prompt` has 40 tokens. This model's maximum context length is 40 tokens:")


def test_no_one_listening_and_no_time_left_end_it(woken):
    message = [False, False, True]
    streamed = frames(woken(interrupted=lambda: message.pop(0)), "complete", PROMPT | {"stream": True})
    assert len(events(streamed)) <= 3
    (late,) = frames(woken(), "complete", PROMPT, within_s=0.0)
    assert json.loads(late.body)["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("operation", "content", "expected"),
    [
        ("complete", {}, "`prompt`"),
        ("complete", {"prompt": ""}, "`prompt` must not be empty"),
        ("complete", {"prompt": ["a", "b"]}, "`prompt`"),
        ("complete", {"prompt": [300]}, "`prompt`"),
        ("complete", {"prompt": [True]}, "`prompt`"),
        ("complete", {"prompt": [-1]}, "`prompt`"),
        ("complete", {"prompt": [1.0]}, "`prompt`"),
        ("complete", {"prompt": "a\ud800"}, "surrogate"),
        ("complete", {"prompt": "a", "top_k": -7}, "`top_k`"),
        ("complete", {"prompt": "a", "stream": "yes"}, "`stream`"),
        ("complete", {"prompt": "a", "stream_options": [1]}, "`stream_options`"),
        ("complete", {"prompt": [1] * 20_000}, "json_values"),
        ("complete", [], "JSON object"),
        ("chat", {"messages": []}, "`messages`"),
        ("chat", {"messages": [{"role": "user", "content": "\udfff"}]}, "surrogate"),
        ("infer", {"inputs": []}, "does not support"),
    ],
)
def test_a_wrong_request_is_refused_by_the_name_of_its_field(woken, operation, content, expected):
    (frame,) = frames(woken(), operation, content)
    assert (frame.header["status"], list(json.loads(frame.body))) == (
        413 if expected == "json_values" else 400,
        ["error"],
    )
    assert expected in json.loads(frame.body)["error"]


@pytest.mark.parametrize("temperature", [1e-320, 1e-30, 2])
def test_any_temperature_draws(woken, temperature):
    assert response(woken(), "complete", **PROMPT | {"temperature": temperature})["usage"]["prompt_tokens"] == 3


SAMPLING_PARAMS = (
    "logprobs",
    "top_logprobs",
    "top_k",
    "min_p",
    "stop",
    "seed",
    "top_p",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
)
TEXT = PROMPT | {"stream": False, "stop": ["x"], "stream_options": {"include_usage": True}, "max_tokens": 2}
CHAT = TEXT | {"messages": [{"role": "user", "content": [{"type": "text", "text": "abc"}]}]}


@hypothesis.settings(max_examples=150)
@hypothesis.given(data=st.data())
@pytest.mark.parametrize(("operation", "content"), [("complete", TEXT), ("chat", CHAT)])
def test_any_request_is_answered_or_refused(any_worker, corrupted, operation, content, data):
    asked = data.draw(corrupted(content, keys=SAMPLING_PARAMS))
    answered = frames(any_worker, operation, asked)
    assert answered[0].header["status"] in (200, 400)
    assert not any(frame.header.get("broken") for frame in answered if answered[0].header["status"] == 200)
    assert answered[0].header["status"] == 200 or len(answered[0].body) < 600


def test_a_failure_while_it_writes_is_marked(woken, monkeypatch, capsys):
    worker = woken()
    steps = iter([1, 1])
    real = TorchLanguageSession.step
    monkeypatch.setattr(TorchLanguageSession, "step", lambda self, *given: next(steps) and real(self, *given))
    answered = frames(worker, "complete", PROMPT | {"stream": True})
    assert answered[-1].header["broken"]
    assert "failed on a request" in capsys.readouterr().err


def test_the_last_conversation_outlives_sleep_and_is_not_read_again(woken, tmp_path, monkeypatch):
    file, read = tmp_path / "prefix.safetensors", []
    real = TorchLanguageSession.step
    monkeypatch.setattr(
        TorchLanguageSession,
        "step",
        lambda self, tokens, kept=None: read.append(tokens.shape[1]) or real(self, tokens, kept),
    )
    expected = response(woken(), "complete", **PROMPT | {"prompt": "abcdefgh"})["choices"]
    first = woken(keeps_prefix=True, prefix=file)
    response(first, "complete", **PROMPT | {"prompt": "abcdef"})
    assert frames(first, "keep")[0].header["status"] == "kept"
    assert file.stat().st_mode & 0o777 == 0o600
    again = woken(keeps_prefix=True, prefix=file)
    read.clear()
    assert response(again, "complete", **PROMPT | {"prompt": "abcdefgh"})["choices"] == expected
    assert read[0] == 2


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda _: b"", lambda content: b"\xff" * 99])
def test_a_damaged_conversation_is_forgotten(woken, tmp_path, damage):
    file = tmp_path / "prefix.safetensors"
    worker = woken(keeps_prefix=True, prefix=file)
    expected = response(worker, "complete", **PROMPT)["choices"]
    frames(worker, "keep")
    file.write_bytes(damage(file.read_bytes()))
    assert response(woken(keeps_prefix=True, prefix=file), "complete", **PROMPT)["choices"] == expected


def test_nothing_reported_or_nowhere_to_write_keeps_nothing(woken, tmp_path, capsys):
    assert frames(woken(), "keep")[0].header["status"] == "not kept"
    assert frames(woken(keeps_prefix=True, prefix=tmp_path / "prefix"), "keep")[0].header["status"] == "not kept"
    (tmp_path / "file").touch()
    worker = woken(keeps_prefix=True, prefix=tmp_path / "file" / "prefix")
    response(worker, "complete", **PROMPT)
    assert frames(worker, "keep")[0].header["status"] == "not kept"
    assert "not saved" in capsys.readouterr().err


def test_a_full_disk_keeps_no_conversation_and_ends_no_worker(woken, tmp_path, capsys, monkeypatch):
    from safetensors import SafetensorError

    def fail(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("overwinter.serving.worker.prefix_cache.save_file", fail)
    worker = woken(keeps_prefix=True, prefix=tmp_path / "prefix")
    response(worker, "complete", **PROMPT)
    assert frames(worker, "keep")[0].header["status"] == "not kept"
    assert "No space left" in capsys.readouterr().err
    assert response(worker, "complete", **PROMPT)
    assert list(tmp_path.iterdir()) == []


def test_a_conversation_of_another_bundle_is_none(woken, tmp_path):
    from overwinter.serving.worker.prefix_cache import load_prefix

    file = tmp_path / "prefix.safetensors"
    worker = woken(keeps_prefix=True, prefix=file)
    response(worker, "complete", **PROMPT)
    frames(worker, "keep")
    assert load_prefix(file, worker._language._session, bundle="another").tokens == []


LONG, TOO_LONG = {"messages": [{"role": "user", "content": "a" * 50}]}, "context_length_exceeded"


def posted(url, content):
    try:
        with urllib.request.urlopen(url, json.dumps(content).encode(), 60) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return json.loads(refusal.read())


@pytest.mark.slow
def test_the_real_server_streams_a_chat(bundle, tmp_path):
    command = [sys.executable, "-m", "overwinter.cli", "serve", "--model", f"llm={bundle.folder}", "serve.port=0"]
    chat = {"model": "llm", "messages": [{"role": "user", "content": "abc"}], "stream": True, "max_tokens": 5}
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{address}/v1/chat/completions", json.dumps(chat).encode(), 60) as reply:
            assert reply.headers["Content-Type"] == "text/event-stream"
            assert reply.read().endswith(b"data: [DONE]\n\n")
        asked = chat | {"stream": False, "logprobs": True, "top_logprobs": 2, "top_k": 5, "min_p": 0.01, "user": "x"}
        (choice,) = posted(f"{address}/v1/chat/completions", asked)["choices"]
        assert all(len(entry["top_logprobs"]) == 2 for entry in choice["logprobs"]["content"])
        for refused, code in (({"n": 2}, "unsupported_value"), ({"topk": 5}, "unknown_parameter"), (LONG, TOO_LONG)):
            error = posted(f"{address}/v1/chat/completions", chat | refused)["error"]
            assert (error["param"], error["code"]) == (next(iter(refused)), code)
        with urllib.request.urlopen(f"{address}/v1/models", timeout=10) as reply:
            assert json.loads(reply.read())["data"][0]["id"] == "llm"
        process.terminate()
    assert process.returncode == 0
