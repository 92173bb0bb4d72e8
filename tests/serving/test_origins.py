"""Pages that may ask, and all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.messages import Request, RequestError
from overwinter.serving.origins import Origins, parse_authority, preflight

ORIGINS = Origins(frozenset({"localhost", "127.0.0.1", "::1", "models.lan"}))


def request(method="POST", **headers):
    return Request(method=method, path="/", headers={name.replace("_", "-"): text for name, text in headers.items()})


def is_refused(asked):
    try:
        ORIGINS.check(asked)
    except RequestError as error:
        return error.status == 403
    return False


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "NULL",
        "",
        " ",
        "file://",
        "file:///home/me/page.html",
        "chrome-extension://abcdef",
        "moz-extension://localhost",
        "data:text/html,x",
        "ftp://localhost",
        "localhost",
        "//localhost",
        "http:localhost",
        "http://",
        "http://localhost http://evil.example",
        "http://localhost, http://evil.example",
        "http://localhost@evil.example",
        "http://user@localhost",
        "http://localhost.evil.example",
        "http://evil.example#localhost",
        "http://localhost/path",
        "http://localhost:99999",
        "http://[",
        "http://[::1",
        "http://löcalhost",
        "https://models.lan.",
        "http://models.lan:80:80",
    ],
)
@pytest.mark.parametrize("site", [None, "none", "same-origin"])
def test_no_other_page_may_ask(origin, site):
    about = {} if site is None else {"sec_fetch_site": site}
    assert is_refused(request(origin=origin, host="localhost:8080", **about)) is (origin != "https://models.lan.")


@given(st.text(max_size=40))
def test_no_text_whatever_is_a_page_by_accident(text):
    assert (
        is_refused(request(origin=text, host="localhost"))
        or "localhost" in text.lower()
        or "models.lan" in text.lower()
    )


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "https://LOCALHOST:3000", "http://127.0.0.1:1", "http://[::1]:8080", "https://models.lan"],
)
@pytest.mark.parametrize("site", ["same-site", "cross-site", "same-origin"])
def test_pages_with_these_names_may(origin, site):
    asked = request(origin=origin, sec_fetch_site=site, host="localhost")
    assert not is_refused(asked)
    assert ORIGINS.headers(asked)["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("https://app.example", "app.example", True),
        ("https://app.example", "app.example:443", True),
        ("https://app.example:8443", "app.example:8443", True),
        ("http://app.example", "app.example:8080", False),
        ("http://app.example", "app.example:443", False),
        ("https://app.example", "api.example", False),
        ("https://app.example", "", False),
        ("https://app.example", "[", False),
    ],
)
def test_a_page_from_the_same_place_may(origin, host, own):
    assert is_refused(request(origin=origin, host=host)) is not own


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "anything", "none, none", ""])
def test_a_page_that_is_not_named_is_known_by_its_site(site):
    assert is_refused(request(sec_fetch_site=site))
    assert is_refused(request("GET", sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="image"))
    assert is_refused(request("GET", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="iframe"))
    assert is_refused(request("POST", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document"))


def test_a_link_may_be_followed():
    about = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert not is_refused(request("GET", sec_fetch_site="cross-site", **about))
    assert not is_refused(request("HEAD", sec_fetch_site="cross-site", **about))


def test_programs_send_none_of_this():
    assert not is_refused(request(host="localhost", user_agent="curl"))
    assert ORIGINS.headers(request(host="localhost")) == {}


@pytest.mark.parametrize("referer", ["http://evil.example/page", "https://evil.example", "null", "x"])
def test_old_browsers_say_it_otherwise(referer):
    assert is_refused(request(referer=referer, host="localhost"))
    assert not is_refused(request("GET", referer=referer, host="localhost"))
    assert not is_refused(request(referer="http://localhost:3000/page?x", host="localhost"))


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("LocalHost:80", "localhost", 80),
        ("localhost.", "localhost", None),
        ("[0:0::1]:5", "::1", 5),
        ("[fe80::1%25eth0]", "fe80::1", None),
        ("a_b-c.example", "a_b-c.example", None),
        ("", "", None),
        ("here:", "here", None),
    ],
)
def test_authorities(text, name, port):
    assert parse_authority(text) == (name, port)


@pytest.mark.parametrize(
    "text", ["[", "[]", "[x]", "[1.2.3.4", "user@here", "a b", "a/b", "a:b", "a:99999", "a:1:2", "ä"]
)
def test_no_authorities(text):
    assert parse_authority(text) is None


def test_a_preflight_names_what_may_be_sent():
    asked = request(
        "OPTIONS",
        access_control_request_method="POST",
        access_control_request_headers="X-Stainless-OS, authorization,bad name,",
        access_control_request_private_network="true",
    )
    headers = preflight(asked, ["POST", "OPTIONS"]).headers
    sent = headers["Access-Control-Allow-Headers"].split(", ")
    assert {"authorization", "overwinter-deadline", "inference-header-content-length", "x-stainless-os"} <= set(sent)
    assert "bad name" not in sent
    assert len(sent) == len(set(sent))
    assert headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert headers["Access-Control-Allow-Private-Network"] == "true"


def test_who_only_asks_what_is_allowed_is_reported_just_that():
    assert preflight(request("OPTIONS"), ["GET"]).headers == {"Allow": "GET"}
