"""Places at fsspec addresses: their versions, and what goes wrong, in words."""

import gzip
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.registry import _registry

from overwinter import remote
from overwinter.errors import ConfigError, OverwinterError
from overwinter.remote import list_files, names_inside, open_file, reaching, versions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # the drivers' own


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


class Answer(BaseHTTPRequestHandler):
    """Answers `/CODE/...` with that code, and an ETag that the server has."""

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"content")

    def do_HEAD(self):
        time.sleep(self.server.delay_s)
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "7")
        self.send_header("ETag", self.server.etag)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture
def http():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.etag, server.delay_s = '"one"', 0.0
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_files_folders_and_patterns_are_listed(memory):
    for name in ("a.txt", "deep/b.txt", "deep/c.bin"):
        memory.pipe(f"/set/{name}", b"x")
    assert list(list_files("memory://set/a.txt", key="data.root")) == ["memory:///set/a.txt"]
    assert len(list_files("memory://set", key="data.root")) == 3
    assert len(list_files("memory://set/**/*.txt", key="data.root")) == 2


def test_the_names_in_a_folder_are_relative_to_it_and_a_file_has_none(memory):
    memory.pipe({"/set/a.txt": b"x", "/set/deep/b.txt": b"x"})
    for place in ("memory://set", "memory://set/"):
        assert names_inside(place, key="model.root") == ["a.txt", "deep/b.txt"]
    assert names_inside("memory://set/a.txt", key="model.root") is None


def test_another_size_name_or_date_is_another_version(memory):
    def version():
        return versions(["memory://set"], key="data.root")["memory://set"]

    memory.pipe("/set/a.txt", b"x")
    seen = [version(), version()]
    assert seen[0] == seen[1]
    memory.pipe("/set/a.txt", b"y")
    seen.append(version())
    memory.pipe("/set/b.txt", b"y")
    seen.append(version())
    memory.mv("/set/b.txt", "/set/c.txt")
    seen.append(version())
    assert len(set(seen)) == 4


def test_a_file_on_the_web_is_known_by_its_etag_whatever_its_query(http):
    place = f"http://127.0.0.1:{http.server_port}/200/table.csv?version=[1]"
    before = versions([place], key="data.root")
    assert versions([place], key="data.root") == before
    http.etag = '"two"'
    assert versions([place], key="data.root") != before


@pytest.mark.parametrize(("code", "said"), [(403, "may not be read: .*\nGive credentials"), (404, "does not exist")])
def test_what_a_web_server_refuses_is_said(http, code, said):
    with pytest.raises(ConfigError, match=said):
        list_files(f"http://127.0.0.1:{http.server_port}/{code}/table.csv", key="data.root")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("memory://none", r"data\.root='memory://none' does not exist"),
        ("nothing://x", "no driver is known"),
        ("https://me:secret@host/x.csv", "data.root has a password or a signature in its address"),
        ("https://host/x.csv?X-Amz-Signature=secret", "data.root has a password or a signature in its address"),
    ],
)
def test_what_cannot_be_listed_is_said(place, said):
    with pytest.raises(ConfigError, match=said) as raised:
        list_files(place, key="data.root")
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_answer_is_no_mistake_of_the_configuration():
    with pytest.raises(OverwinterError, match="Check the network") as raised:
        list_files("http://127.0.0.1:1/x.csv", key="data.root")
    assert not isinstance(raised.value, ConfigError)


def test_a_long_wait_is_reported(http, monkeypatch, capsys):
    place = f"http://127.0.0.1:{http.server_port}/200/table.csv"
    list_files(place, key="data.root")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(remote, "_NOTICE_S", 0.1)
    http.delay_s = 0.5
    list_files(place, key="data.root")
    notice = capsys.readouterr().err
    assert notice.startswith(f"overwinter: data.root={place!r} is not listed after 0.1 s; its driver goes on trying")
    assert notice.count("overwinter: ") == 1
    assert "Check the network and, of an own S3 server, AWS_ENDPOINT_URL." in notice


@pytest.mark.parametrize(
    ("place", "module", "package"),
    [
        ("s3://seasons/set", "s3fs", r"'overwinter\[s3\]'"),
        ("gs://seasons/set", "gcsfs", "gcsfs"),
        ("az://seasons/set", "adlfs", "adlfs"),
        ("abfss://seasons/set", "adlfs", "adlfs"),
        ("simplecache::gs://seasons/set", "gcsfs", "gcsfs"),
    ],
)
def test_a_missing_driver_says_what_to_install(place, module, package, monkeypatch):
    for scheme in fsspec.available_protocols():
        monkeypatch.delitem(_registry, scheme, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"^data\.root='{place}'.* driver.*\nRun: pip install {package}$"):
        list_files(place, key="data.root")


def test_a_driver_of_another_place_says_itself_what_it_needs():
    with pytest.raises(ConfigError, match=r"driver: Install ocifs\.$"), reaching("oci://x", key="data.root"):
        raise ImportError("Install ocifs")


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no file"):
        versions([str(tmp_path)], key="data.root")


def test_compressed_files_are_read_decompressed(memory):
    memory.pipe("/a.txt.gz", gzip.compress(b"cold"))
    with open_file("memory://a.txt.gz", key="data.root") as stream:
        assert stream.read() == b"cold"


@pytest.mark.special
def test_a_bucket_in_s3(s3, monkeypatch):
    s3.mkdir("seasons")
    s3.pipe("seasons/set/a.txt", b"x")
    before = versions(["s3://seasons/set"], key="data.root")
    assert versions(["s3://seasons/set"], key="data.root") == before
    s3.pipe("seasons/set/a.txt", b"y")
    assert versions(["s3://seasons/set"], key="data.root") != before
    for absent in ("s3://no-such-bucket/set", "s3://seasons/none"):
        with pytest.raises(ConfigError, match="does not exist: there is no such bucket, folder or file"):
            list_files(absent, key="data.root")
    type(s3).clear_instance_cache()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="may not be read: NoCredentialsError"):
        list_files("s3://seasons/set", key="data.root")
