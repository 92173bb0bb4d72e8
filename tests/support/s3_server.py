"""A local S3 server (moto), whose address and credentials are in the environment, as users give them."""

import logging
import urllib.request

import pytest


@pytest.fixture
def s3(monkeypatch):
    """Start a server, and yield a file system on it; skip where a package is missing."""
    s3fs = pytest.importorskip("s3fs", reason="needs the package s3fs")
    moto = pytest.importorskip("moto.server", reason="needs the package moto[server]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What servers hold is the process's, so an earlier test's buckets would be there.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield s3fs.S3FileSystem()
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
