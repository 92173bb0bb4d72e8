"""Which handler answers."""

import pytest

from overwinter.serving.messages import Request, RequestError, Route
from overwinter.serving.routing import Router


async def _handler(_request):
    raise NotImplementedError


ROUTES = [
    Route(method="GET", pattern="/v2/models/{model}", handler=_handler),
    Route(method="POST", pattern="/v2/models/{model}/infer", handler=_handler),
]


@pytest.mark.parametrize(
    ("method", "path", "pattern", "model"),
    [
        ("GET", "/v2/models/digits", 0, "digits"),
        ("HEAD", "/v2/models/digits", 0, "digits"),
        ("POST", "/v2/models/a%20b%2Fc/infer", 1, "a b/c"),
        ("GET", "/v2/models/%zz%00%ff", 0, "%zz\0\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_route_is_found_with_what_its_pattern_names(method, path, pattern, model):
    route, request = Router(ROUTES).find(Request(method=method, path=path, headers={}))
    assert route is ROUTES[pattern]
    assert request.matched == {"model": model}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/a/b", 404),
        ("GET", "/v2/models/a/infer", 405),
        ("PUT", "/v2/models/a", 405),
    ],
)
def test_other_requests_are_refused(method, path, status):
    with pytest.raises(RequestError) as refusal:
        Router(ROUTES).find(Request(method=method, path=path, headers={}))
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v2/models/a", ["GET", "HEAD", "OPTIONS"]),
        ("/v2/models/a/infer", ["POST", "OPTIONS"]),
        ("*", ["GET", "POST", "HEAD", "OPTIONS"]),
    ],
)
def test_what_a_path_takes_is_reported(path, methods):
    assert Router(ROUTES).methods(path) == methods
    if path != "*":
        with pytest.raises(RequestError) as refusal:
            Router(ROUTES).find(Request(method="PATCH", path=path, headers={}))
        assert refusal.value.reply().headers["Allow"] == ", ".join(methods)
