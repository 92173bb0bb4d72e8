"""The fields of a request to OpenAI's endpoints: which are offered, which change no text, and which are refused.

Known are OpenAI's own (https://platform.openai.com/docs/api-reference/chat/create, completions/create and
embeddings/create) and those that clients of vLLM and llama.cpp add
(https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md). A field that is not offered passes only with
a value that has no effect; null has none. The check comes before the model is woken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from overwinter.errors import nearest
from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import RequestError
from overwinter.serving.plan import CHAT, COMPLETE, EMBED

_PATHS = {COMPLETE: "/v1/completions", CHAT: "/v1/chat/completions", EMBED: "/v1/embeddings"}
_LENGTH = 80  # characters of a name that a message repeats
_NAME = re.compile(rf"[\w.\[\]]{{1,{_LENGTH}}}", re.ASCII)
_TEXT = frozenset(
    {"model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop"}
)
# The fields that have an effect, by operation.
_OFFERED = {
    COMPLETE: _TEXT | {"prompt", "logprobs"},
    CHAT: _TEXT | {"messages", "max_completion_tokens", "logprobs", "top_logprobs"},
    EMBED: frozenset({"model", "input", "encoding_format", "dimensions"}),
}
# Notes for whoever keeps, schedules or bills requests; and settings of something that is itself refused.
_WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prediction"}
    | {"prompt_cache_options", "request_id", "session_id", "priority", "cache_salt", "cache_prompt", "id_slot"}
    | {"parallel_tool_calls", "truncation_side"}
    | {"dynatemp_exponent", "mirostat_tau", "mirostat_eta", "xtc_threshold", "repeat_last_n", "penalize_nl"}
    | {"dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "guided_decoding_backend"}
)
# The only values that pass, besides null.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # OpenAI's
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "store": (False,),
    "audio": (),
    "reasoning_effort": (),
    "web_search_options": (),
    "moderation": (),
    # vLLM's
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "repetition_penalty": (1,),
    "stop_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "bad_words": ([],),
    "truncate_prompt_tokens": (),
    "thinking_token_budget": (),
    "include_reasoning": (True,),
    "watermarking": (False,),
    "repetition_detection": (),
    "logprob_token_ids": (),
    "prompt_logprobs": (),
    "allowed_token_ids": (),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "documents": ([],),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "mm_processor_kwargs": ({},),
    "media_io_kwargs": ({},),
    "structured_outputs": (),
    "structural_tag": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_whitespace_pattern": (),
    "logits_processors": ([],),
    "return_token_ids": (False,),
    "return_token_offsets": (False,),
    "return_prompt_text": (False,),
    "return_mm_kwargs": (True,),
    "routed_experts_prompt_start": (0,),
    "return_tokens_as_token_ids": (False,),
    "kv_transfer_params": (),
    "ec_transfer_params": (),
    "vllm_xargs": ({},),
    # llama.cpp's
    "n_predict": (),
    "n_keep": (0,),
    "n_discard": (0,),
    "n_indent": (0,),
    "n_probs": (0,),
    "min_keep": (0,),
    "typical_p": (1,),
    "tfs_z": (1,),
    "top_n_sigma": (-1,),
    "dynatemp_range": (0,),
    "repeat_penalty": (1,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "mirostat": (0,),
    "grammar": ("",),
    "json_schema": (),
    "samplers": (),
    "reasoning_format": ("none",),
    "t_max_predict_ms": (0,),
    "post_sampling_probs": (False,),
    "return_tokens": (False,),
    "timings_per_token": (False,),
    "return_progress": (False,),
    "response_fields": ([],),
    "image_data": ([],),
    "lora": ([],),
}
# Fields that have other neutral values at one endpoint.
_NEUTRAL_AT: dict[str, dict[str, tuple[Any, ...]]] = {
    COMPLETE: {"add_special_tokens": (True,)},
    CHAT: {"add_special_tokens": (False,)},
    EMBED: {},
}
_OPTIONS = {"stream_options.continuous_usage_stats": (False,), "stream_options.include_obfuscation": (False, True)}
_USAGE = "stream_options.include_usage"


def check_fields(content: Mapping[str, Any], operation: str) -> None:
    """Refuse a field that would change the response and is not offered, or that is unknown.

    Args:
        content: The request.
        operation: `complete`, `chat` or `embed`.

    Raises:
        RequestError: 400, its message begins with the field's name.
    """
    neutral = _NEUTRAL | _NEUTRAL_AT[operation]
    for name, value in content.items():
        if name in _OFFERED[operation] or name in _WITHOUT_EFFECT:
            continue
        if name not in neutral:
            raise _foreign(name, operation)
        check_neutral(name, value, neutral[name])
    options = content.get("stream_options")
    for name, value in options.items() if isinstance(options, dict) else ():
        field = f"stream_options.{name}"
        if field in _OPTIONS:
            check_neutral(field, value, _OPTIONS[field])
        elif field != _USAGE:
            raise unknown_field(field, {*_OPTIONS, _USAGE})


def check_neutral(name: str, value: Any, neutral: Collection[Any]) -> None:
    """Refuse a value of a field that is not offered, unless it is neutral or null.

    Raises:
        RequestError: 400, its message begins with the field's name.
    """
    if value is None or any(_equal(value, only) for only in neutral):
        return
    if not neutral:
        raise RequestError(400, f"`{name}` is not supported: leave it out.", code="unsupported_parameter")
    only = " or ".join(map(json.dumps, neutral))
    raise RequestError(400, f"`{name}` can only be {only} here, not {shown(value)}.", code="unsupported_value")


def unknown_field(name: str, known: Collection[str]) -> RequestError:
    """Return the refusal of a field that is not known, with the nearest one of those that are."""
    field = f"`{name}`" if _NAME.fullmatch(name) else shown(name)
    return RequestError(400, f"{field} is not a known field.{nearest(name[:_LENGTH], known)}", code="unknown_parameter")


def _foreign(name: str, operation: str) -> RequestError:
    """Return the refusal of a field that this endpoint does not have."""
    homes = [_PATHS[other] for other, offered in _OFFERED.items() if name in offered]
    if not homes:
        return unknown_field(name, _OFFERED[operation] | _NEUTRAL.keys())
    message = f"`{name}` is a field of {' and '.join(homes)}, not of {_PATHS[operation]}."
    return RequestError(400, message, code="unknown_parameter")


def _equal(value: Any, only: Any) -> bool:
    """Return whether two values are equal; unlike in Python, a number equals no truth value."""
    return isinstance(value, bool) == isinstance(only, bool) and bool(value == only)
