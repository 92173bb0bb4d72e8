"""Errors in OpenAI's form; their own client must be able to read them."""

import json

import pytest

from overwinter.serving.messages import Reply, RequestError, json_reply
from overwinter.serving.openai_errors import respelled


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "authentication_error", "invalid_api_key"),
        (403, "permission_error", None),
        (404, "invalid_request_error", None),
        (413, "invalid_request_error", None),
        (503, "server_error", None),
    ],
)
def test_every_refusal_is_an_error_object(status, kind, code):
    reply = respelled(RequestError(status, "No.", retry_after_s=2).reply())
    assert (reply.status, reply.headers["Retry-After"]) == (status, "2")
    assert json.loads(reply.body)["error"] == {"message": "No.", "type": kind, "param": None, "code": code}


def test_the_field_that_a_message_begins_with_is_its_param():
    reply = respelled(RequestError(400, "`messages[0].content` must be text.").reply())
    assert json.loads(reply.body)["error"]["param"] == "messages[0].content"


def test_the_reason_for_programs_is_kept():
    reply = respelled(RequestError(400, "`messages` are too long.", code="context_length_exceeded").reply())
    assert json.loads(reply.body)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "reply", [json_reply({"choices": []}), json_reply({"error": {"message": "said"}}, status=400), Reply(status=200)]
)
def test_what_is_no_plain_error_stays_as_it_is(reply):
    assert respelled(reply) is reply
