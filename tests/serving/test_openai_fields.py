"""What passes, and what is refused by its name, before a model is woken."""

import pytest

from overwinter.serving.messages import RequestError
from overwinter.serving.openai_fields import check_fields

# What the clients of OpenAI, LangChain, vLLM and llama.cpp send with everything at its default.
DEFAULTS = {
    "model": "m",
    "n": 1,
    "temperature": 0.7,
    "top_p": 1,
    "seed": None,
    "stop": None,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False, "continuous_usage_stats": False},
    "logit_bias": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0,
    "user": "someone",
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "ignore_eos": False,
    "min_tokens": 0,
    "stop_token_ids": [],
    "skip_special_tokens": True,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "cache_prompt": True,
}
OF_A_CHAT = {
    "messages": [],
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "functions": None,
    "function_call": None,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "audio": None,
    "prediction": None,
    "reasoning_effort": None,
    "verbosity": "medium",
    "service_tier": "auto",
    "store": False,
    "metadata": {"run": "7"},
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit"},
    "moderation": None,
    "web_search_options": None,
    "logprobs": True,
    "top_logprobs": 5,
    "max_completion_tokens": 7,
    "max_tokens": 7,
    "chat_template_kwargs": {},
    "add_generation_prompt": True,
    "guided_json": None,
}
OF_A_COMPLETION = {
    "prompt": "a",
    "best_of": 1,
    "echo": False,
    "suffix": None,
    "logprobs": 3,
    "add_special_tokens": True,
}


@pytest.mark.parametrize(
    ("operation", "content"),
    [
        ("chat", DEFAULTS | OF_A_CHAT),
        ("complete", DEFAULTS | OF_A_COMPLETION),
        ("embed", {"model": "m", "input": ["a"], "encoding_format": "base64", "dimensions": 384, "user": "someone"}),
    ],
)
def test_what_changes_no_text_passes(operation, content):
    check_fields(content, operation)
    check_fields(dict.fromkeys(content), operation)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("n", 2, "unsupported_value"),
        ("n", True, "unsupported_value"),
        ("tools", [{"type": "function"}], "unsupported_value"),
        ("tool_choice", "required", "unsupported_value"),
        ("response_format", {"type": "json_object"}, "unsupported_value"),
        ("response_format", {"type": "json_schema", "json_schema": {}}, "unsupported_value"),
        ("modalities", ["text", "audio"], "unsupported_value"),
        ("frequency_penalty", 0.5, "unsupported_value"),
        ("logit_bias", {"7": 100}, "unsupported_value"),
        ("logit_bias", [[[[]]]], "unsupported_value"),
        ("store", True, "unsupported_value"),
        ("service_tier", "priority", "unsupported_value"),
        ("reasoning_effort", "low", "unsupported_parameter"),
        ("web_search_options", {}, "unsupported_parameter"),
        ("audio", {"voice": "x"}, "unsupported_parameter"),
        ("moderation", {"model": "omni-moderation-latest"}, "unsupported_parameter"),
        ("thinking_token_budget", 0, "unsupported_parameter"),
        ("repetition_penalty", 1.1, "unsupported_value"),
        ("ignore_eos", True, "unsupported_value"),
        ("stop_token_ids", [2], "unsupported_value"),
        ("chat_template_kwargs", {"enable_thinking": False}, "unsupported_value"),
        ("chat_template", "{{ messages }}", "unsupported_parameter"),
        ("guided_json", {}, "unsupported_parameter"),
        ("json_schema", {}, "unsupported_parameter"),
        ("grammar", "root ::= x", "unsupported_value"),
        ("mirostat", 2, "unsupported_value"),
        ("n_predict", 9, "unsupported_parameter"),
        ("prompt", "a", "unknown_parameter"),
        ("input", "a", "unknown_parameter"),
        ("topk", 7, "unknown_parameter"),
        ("topk", None, "unknown_parameter"),
    ],
)
def test_what_would_change_the_text_is_refused_by_its_name(field, value, code):
    with pytest.raises(RequestError, match=rf"^`{field}` ") as refusal:
        check_fields(DEFAULTS | OF_A_CHAT | {field: value}, "chat")
    assert (refusal.value.status, refusal.value.code) == (400, code)


@pytest.mark.parametrize(
    ("operation", "content", "expected"),
    [
        ("chat", {"topk": 7}, "`topk` is not a known field. Did you mean 'top_k'?"),
        ("chat", {"prompt": "a"}, "`prompt` is a field of /v1/completions, not of /v1/chat/completions."),
        ("embed", {"temperature": 1}, "`temperature` is a field of /v1/completions and /v1/chat/completions, not of"),
        ("complete", {"n": 2}, "`n` can only be 1 here, not 2."),
        ("chat", {"tool_choice": {"type": "x"}}, '`tool_choice` can only be "none" or "auto" here, not {'),
        ("chat", {"guided_regex": "x"}, "`guided_regex` is not supported: leave it out."),
        ("chat", {"stream_options": {"usage": True}}, "`stream_options.usage` is not a known field. Did you mean"),
        ("chat", {"stream_options": {"continuous_usage_stats": True}}, "`stream_options.continuous_usage_stats` can"),
        ("complete", {"a\n`b` \ud800": 7}, "'a\\n`b` \\ud800' is not a known field."),
        ("complete", {"x" * 100_000: 7}, "'xxx"),
    ],
)
def test_the_refusal_says_what_is_possible(operation, content, expected):
    with pytest.raises(RequestError) as refusal:
        check_fields(content, operation)
    assert str(refusal.value).startswith(expected)
    assert len(str(refusal.value)) < 300
