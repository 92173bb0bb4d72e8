"""Tokens, names and certificates."""

import ssl
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError
from overwinter.serving.access import open_access, read_token, tls_context
from overwinter.serving.messages import Request, RequestError

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def access(tmp_path):
    """Make the group `serve.access`; `secret` becomes a file."""

    def access(*, secret=None, **changes):
        if secret is not None:
            (tmp_path / "token").write_text(secret)
            (tmp_path / "token").chmod(0o600)
            changes["token_file"] = str(tmp_path / "token")
        plain = {"token_file": None, "tls_cert": None, "tls_key": None, "client_ca": None, "hosts": []}
        return SimpleNamespace(**plain | changes)

    return access


def check(found, *, open_to_all=False, **headers):
    found.check(Request(method="POST", path="/", headers=headers), open_to_all=open_to_all)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "[0::1]", "LOCALHOST.:1", "localhost:", "models.lan", ""]
)
def test_its_own_names_may_be_called(access, host):
    check(open_access("127.0.0.1", access(hosts=["Models.lan"])), host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1", "models.lan"])
def test_their_pages_may_ask(access, host):
    check(open_access("127.0.0.1", access(hosts=["Models.lan"])), host="localhost", origin=f"http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "[fe80::1%25eth0]:1",
        "0.0.0.0",
    ],
)
def test_no_other_page_may_ask_in_somebodys_name(access, host):
    found = open_access("127.0.0.1", access())
    with pytest.raises(RequestError, match="is not a name of this server") as refusal:
        check(found, host=host)
    assert refusal.value.status == 403
    with pytest.raises(RequestError, match="another site"):
        check(found, host="localhost", origin=f"https://{host}", open_to_all=True)


def test_a_token_or_a_certificate_says_enough_of_the_name(access):
    check(open_access("0.0.0.0", access(secret=TOKEN)), host="any.example", authorization=f"Bearer {TOKEN}")
    check(open_access("0.0.0.0", access(client_ca="ca.pem")), host="any.example")


def test_but_not_of_the_page_that_asks(access):
    """A browser adds the certificate whichever page asks."""
    found = open_access("0.0.0.0", access(client_ca="ca.pem", hosts=["app.example"]))
    check(found, host="any.example", origin="https://app.example")
    check(found, host="any.example", origin="https://any.example")
    for origin in ("https://evil.example", "null", "http://localhost"):
        with pytest.raises(RequestError, match="another site"):
            check(found, host="any.example", origin=origin)
    with pytest.raises(RequestError, match="another site"):
        check(found, **{"host": "any.example", "sec-fetch-site": "cross-site"})


def test_a_token_is_asked_for_but_by_health_checks(access):
    found = open_access("127.0.0.1", access(secret=TOKEN))
    for given in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
        with pytest.raises(RequestError, match="needs a token"):
            check(found, authorization=given)
    check(found, open_to_all=True)
    check(found, authorization=f"bearer {TOKEN}")


@pytest.mark.parametrize(
    ("mode", "content", "message"), [(0o640, b"x" * 32, "chmod 600"), (0o600, b"short", "5 bytes")]
)
def test_a_token_that_is_no_secret_is_refused(tmp_path, mode, content, message):
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        read_token(str(file))


def test_a_token_that_is_not_ours_to_read_is_reported_as_that(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*must belong to the user"):
        read_token(str(tmp_path / "token"))


def test_a_token_is_read_without_its_line_end(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"0123456789abcdef\n")
    file.chmod(0o600)
    assert read_token(str(file)) == b"0123456789abcdef"
    assert read_token(None) is None


def test_without_certificates_there_is_no_tls(access):
    assert tls_context(access()) is None


@pytest.mark.parametrize(("mode", "message"), [(0o644, "chmod 600"), (0o600, "not a certificate and its key")])
def test_a_key_that_is_no_secret_or_no_key_is_refused(access, tmp_path, mode, message):
    for name in ("cert", "key"):
        (tmp_path / name).write_text("nothing")
        (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigError, match=message):
        tls_context(access(tls_cert=str(tmp_path / "cert"), tls_key=str(tmp_path / "key")))


def test_certificates_make_tls_and_a_ca_asks_clients_for_theirs(access, certificates):
    plain = {"tls_cert": str(certificates / "server.pem"), "tls_key": str(certificates / "server.key")}
    assert tls_context(access(**plain)).verify_mode == ssl.CERT_NONE
    mutual = tls_context(access(**plain, client_ca=str(certificates / "ca.pem")))
    assert (mutual.verify_mode, mutual.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ConfigError, match="client_ca"):
        tls_context(access(**plain, client_ca=str(certificates / "server.key")))
