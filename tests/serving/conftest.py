"""A server's configuration, models whose worker is a stand-in, and certificates."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import sys
from pathlib import Path

import pytest

from overwinter.bundle import Keys
from overwinter.cli.service import load_service
from overwinter.serving.access import Access
from overwinter.serving.held import HeldBytes
from overwinter.serving.http import HttpServer
from overwinter.serving.messages import Call, Reply, RequestError, Route
from overwinter.serving.metrics import Metrics, ModelMetrics
from overwinter.serving.model import Model
from overwinter.serving.plan import ModelPlan, ServePlan, make_plan, parse_plan
from overwinter.serving.routing import Router
from overwinter.serving.streams import Stream

STAND_IN = Path(__file__).with_name("stand_in_worker.py")


@pytest.fixture(scope="session")
def service():
    return load_service(["serve.port=0"])


@pytest.fixture
def settings(service, tmp_path):
    """The group `serve/` as the supervisor sees it; made afresh for each test."""
    serve = parse_plan(make_plan(service, {}, keys=Keys()).to_json()).serve
    (tmp_path / "notes").touch()
    serve.worker.launcher = [sys.executable, "-S", "-E", str(STAND_IN), str(tmp_path / "notes")]
    serve.worker.backoff_s = 0.001
    return serve


class Served:
    """A model in a running loop, with what was noted of it."""

    def __init__(self, model, log, notes):
        self.model, self.log, self._notes = model, log, notes

    async def ask(self, text, *, deadline_s=10.0, idempotent=True):
        reply = await self.reply(text, deadline_s=deadline_s, idempotent=idempotent)
        return reply.body.decode()

    async def reply(self, text, *, deadline_s=10.0, idempotent=True):
        call = Call(
            operation="infer",
            headers={},
            body=text.encode(),
            deadline_s=deadline_s,
            idempotent=idempotent,
            if_broken=b"broken",
        )
        return await self.model.ask(call)

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    def count(self, word):
        return self._notes.read_text().split().count(word)


@pytest.fixture
def run_with_model(settings, tmp_path):
    """Run a coroutine function on a served model, and end it in order."""

    def run(scenario, *, bundle="bundle", kind="none"):
        async def whole():
            log = []
            model = Model(
                ModelPlan(name="m", bundle=bundle, digest="d" * 64, kind=kind, metadata={"versions": ["d"]}),
                plan=ServePlan(models=(), trusted=(), keys=(), opening=(), carbon={}, serve=settings),
                model_metrics=ModelMetrics(
                    "m", power_draw=settings.power_draw, metrics=Metrics(), log=lambda *_, **__: None
                ),
                log=lambda event, **facts: log.append({"event": event, **facts}),
            )
            model.start()
            try:
                return await scenario(Served(model, log, tmp_path / "notes"))
            finally:
                await model.close()

        return asyncio.run(whole())

    return run


class Rooms:
    """Routes behind a door: what they do, the body of a request tells."""

    def __init__(self):
        self.streams = []

    def routes(self):
        return [
            Route(method="POST", pattern="/echo", handler=self._echo, computes=True),
            Route(method="POST", pattern="/v1/echo", handler=self._echo, computes=True),
            Route(method="GET", pattern="/stream", handler=self._stream),
            Route(method="POST", pattern="/stream", handler=self._stream),
            Route(method="POST", pattern="/text", handler=self._echo, limit="text_bytes"),
            Route(method="GET", pattern="/health", handler=self._echo, open_to_all=True),
            Route(method="GET", pattern="/large", handler=self._large),
        ]

    async def _echo(self, request):
        if request.body == b"fail":
            raise ValueError("inside")
        if request.body == b"slow":
            await asyncio.sleep(0.2)
        if request.body == b"busy":
            raise RequestError(503, "Too many.", retry_after_s=2.4)
        return Reply(body=request.method.encode() + b" " + request.body)

    async def _large(self, _request):
        return Reply(body=bytes(1 << 26))

    async def _stream(self, request):
        stream = Stream()
        self.streams.append(stream)
        for part in (b"one ", b"two"):
            stream.put(part)
        if request.method == "GET":
            stream.end()
        else:
            asyncio.get_running_loop().create_task(_keep_saying(stream))
        return Reply(body=stream)


async def _keep_saying(stream):
    while not stream.abandoned:
        stream.put(b"more")
        await asyncio.sleep(0.01)


@pytest.fixture
def rooms():
    return Rooms()


@pytest.fixture
def at_server(settings, rooms):
    """Run a coroutine function of a port and the door behind it."""

    def at_server(scenario, *, access=None, log=lambda *_, **__: None, **options):
        async def whole():
            limits = settings.limits
            http_server = HttpServer(
                Router(rooms.routes()),
                limits,
                access=access or Access(),
                held=HeldBytes(limits.held_bytes),
                log=log,
                **options,
            )
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            http_server.listen([listener])
            try:
                return await scenario(port, http_server)
            finally:
                await http_server.close(within_s=1)

        return asyncio.run(whole())

    return at_server


async def exchange(port, content, *, patience_s):
    """Send bytes; return what comes back until the other side closes, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parts = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        writer.write(content)
        async with asyncio.timeout(patience_s):
            while part := await reader.read(1 << 16):
                parts.append(part)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return b"".join(parts)


@pytest.fixture
def talk(at_server):
    """Send bytes to a door, each on its own connection at once; return what comes back on each."""

    def talk(*contents, patience_s=0.3, **options):
        async def scenario(port, _http_server):
            return await asyncio.gather(*(exchange(port, content, patience_s=patience_s) for content in contents))

        return at_server(scenario, **options)

    return talk


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with ca.pem, and of `server` and `client` NAME.pem, NAME.key and both in NAME-both.pem."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder = tmp_path_factory.mktemp("certificates")
    authority = ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(_certificate("ca", authority, "ca", authority).public_bytes(Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, "ca", authority).public_bytes(Encoding.PEM)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for suffix, content in ((".pem", certificate), (".key", secret), ("-both.pem", certificate + secret)):
            (folder / f"{name}{suffix}").write_bytes(content)
            (folder / f"{name}{suffix}").chmod(0o600)
    return folder


def _certificate(name, key, issuer, signer):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    begin = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    builder = x509.CertificateBuilder(
        subject_name=named(name),
        issuer_name=named(issuer),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=begin + dt.timedelta(days=1),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256())
