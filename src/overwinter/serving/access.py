"""Access control: TLS with or without client certificates, a token, and the host names that browsers may use."""

from __future__ import annotations

import hmac
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.files import open_to_others
from overwinter.serving.messages import Request, RequestError
from overwinter.serving.origins import Origins, parse_authority

if TYPE_CHECKING:
    from overwinter.config.groups.serve import AccessConfig

_MIN_TOKEN_BYTES = 16
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Access:
    """The checks of each request: its token, host name and origin.

    Without a token or client certificates, `Host` is checked, since a web page can point its own name at this machine
    (DNS rebinding). The origin of web pages is always checked.

    Args:
        token: The token that every request must carry; None: no token.
        names: The hosts whose web pages may send requests.
        any_name: Whether clients may use other host names for the server, too.
    """

    def __init__(
        self, *, token: bytes | None = None, names: frozenset[str] = frozenset(), any_name: bool = True
    ) -> None:
        self._token, self._names, self._any_name = token, names, any_name
        self._origins = Origins(names)

    def check(self, request: Request, *, open_to_all: bool) -> None:
        """Check a request.

        Args:
            request: The request's head.
            open_to_all: Whether it needs no token.

        Raises:
            RequestError: 401 or 403.
        """
        self._check_name(request.headers.get("host", ""))
        self._origins.check(request)
        if self._token is not None and not open_to_all:
            self._check_token(request.headers.get("authorization", ""), self._token)

    def headers(self, request: Request) -> dict[str, str]:
        """Return the CORS headers of a reply to an allowed page."""
        return self._origins.headers(request)

    def _check_name(self, place: str) -> None:
        authority = parse_authority(place)
        if place and not self._any_name and (authority is None or authority.name not in self._names):
            raise RequestError(403, f"{place[:100]!r} is not a name of this server. Add it to serve.access.hosts.")

    @staticmethod
    def _check_token(given: str, token: bytes) -> None:
        kind, _, text = given.partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(text.strip().encode(), token):
            return
        wrong = ', error="invalid_token"' if given else ""
        raise RequestError(
            401,
            "This server needs a token: Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": f'Bearer realm="overwinter"{wrong}'},
        )


def open_access(host: str, access: AccessConfig) -> Access:
    """Return the checks of a configuration.

    Raises:
        ConfigError: The token file is not secret.
    """
    known = access.token_file is not None or access.client_ca is not None
    local = _LOCAL_NAMES if host in _LOCAL_NAMES or host.startswith("127.") else ()
    names = frozenset((*local, host.lower(), *(name.lower() for name in access.hosts)))
    return Access(token=read_token(access.token_file), names=names, any_name=known)


def read_token(file: str | None) -> bytes | None:
    """Return the token that requests must carry.

    Raises:
        ConfigError: Other users can read the file, this process cannot, or the token is too short.
    """
    if file is None:
        return None
    try:
        _check_secret("token_file", file)
        token = Path(file).read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"serve.access.token_file={file!r} cannot be read: {error.strerror}. It must belong to the user that the "
            f"server runs as ({os.geteuid()})."
        ) from None
    if len(token) < _MIN_TOKEN_BYTES:
        raise ConfigError(
            f"serve.access.token_file={file!r} holds {len(token)} bytes, but must hold at least {_MIN_TOKEN_BYTES}.\n"
            f"`(umask 077; openssl rand -hex 32 > {file})` writes a good one."
        )
    return token


def tls_context(access: AccessConfig) -> ssl.SSLContext | None:
    """Return the TLS context of a configuration: 1.2 or newer, with client certificates if it names their CA.

    Raises:
        ConfigError: Other users can read the key, or a file is not valid.
    """
    if access.tls_cert is None or access.tls_key is None:
        return None
    _check_secret("tls_key", access.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(access.tls_cert, access.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(f"serve.access.tls_cert and tls_key are not a certificate and its key: {error}.") from None
    if access.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(access.client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"serve.access.client_ca={access.client_ca!r} is not a certificate: {error}.") from None
    return context


def _check_secret(key: str, file: str) -> None:
    if open_to_others(Path(file), Path(file).stat().st_mode):
        raise ConfigError(f"serve.access.{key}={file!r} can be read by other users. Run `chmod 600 {file}`.")
