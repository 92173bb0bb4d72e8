"""A server's configuration, models whose worker is a stand-in, and certificates."""

import asyncio
import datetime as dt
import ipaddress
import sys
from pathlib import Path

import pytest

from overwinter.cli.service import load_service
from overwinter.serving import Keys
from overwinter.serving.server.accounts import Accounts, Metrics
from overwinter.serving.server.messages import Call
from overwinter.serving.server.model import Model
from overwinter.serving.server.plan import ModelPlan, Plan, make_plan, parse_plan

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
                plan=Plan(models=(), trusted=(), keys=(), opening=(), carbon={}, serve=settings),
                accounts=Accounts("m", draws=settings.draws, metrics=Metrics(), log=lambda *_, **__: None),
                log=lambda event, **facts: log.append({"event": event, **facts}),
            )
            model.start()
            try:
                return await scenario(Served(model, log, tmp_path / "notes"))
            finally:
                await model.close()

        return asyncio.run(whole())

    return run


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
