"""Data and models at fsspec addresses, such as s3://bucket/folder or https://host/file: what is there, and fetching it.

The names, sizes and ETags of all files at an address are its *version*. It is looked up before energy is spent, `check`
writes it for DVC, and a copy is kept by it. Credentials are those that each driver finds in the environment and in its
own files; an address has none, since params.yaml is committed. How often and how long a driver tries is its own affair
too: a slow network is no broken one. A line on standard error says what is waited for.
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.files import digest

_GLOB = "*?["
# How file systems call what changes with a file's content, the most certain first.
_MARKS = (
    *("ETag", "etag", "md5Hash", "Content-MD5", "generation", "checksum"),
    *("Last-Modified", "LastModified", "mtime", "last_modified", "created"),
)
_DENIED = ("Credentials", "ClientAuthentication", "Token")  # in the names of drivers' exceptions, which share no base
_DENIED_STATUS, _ABSENT_STATUS = (401, 403), 404
_NO_BUCKET = "NoSuchBucket"
_CHECK_NETWORK = "Check the network and, of an own S3 server, AWS_ENDPOINT_URL"
_S3, _GOOGLE, _AZURE = "'overwinter[s3]'", "gcsfs", "adlfs"
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), _S3),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("az", "abfs", "abfss"), _AZURE),
    "hf": "huggingface_hub",
}
_NOTICE_S = 5.0  # a listing of most places takes less than one
_SIGNED = {"x-amz-signature", "x-goog-signature", "signature", "sig"}  # in the query of a presigned address


def is_remote(place: str) -> bool:
    """Return whether ``place`` is an fsspec address and no path."""
    return "://" in place


def list_files(place: str, *, key: str) -> dict[str, str]:
    """Return the files at a place: address -> digest of its size and of its ETag, or of what else says its version.

    Args:
        place: A file, a folder (recursive) or a glob pattern, on this machine or at an fsspec address; on the web, one
            file.
        key: Configuration key, for error messages.

    Raises:
        ConfigError: There is no such place, its driver is not installed, or credentials are missing or in the address.
        OverwinterError: It cannot be reached.
    """
    _refuse_secrets(place, key)
    with reaching(place, key=key), _telling(place, key):
        files, path = _file_system(place)
        found = _found(files, path, pattern=_is_pattern(place, path))
        return {files.unstrip_protocol(name): _version(info) for name, info in sorted(found.items())}


def versions(places: Sequence[str], *, key: str) -> dict[str, str]:
    """Return place -> digest of the names and versions of its files.

    Raises:
        ConfigError: There is no file at a place, or as `list_files`.
        OverwinterError: A place cannot be reached.
    """
    return {place: digest(_some_files(place, key)) for place in places}


@contextlib.contextmanager
def open_file(address: str, *, key: str) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed if its name ends as that of a compressed file.

    Raises:
        ConfigError: As `list_files`, also for what is read inside the context.
        OverwinterError: It cannot be reached, likewise.
    """
    import fsspec  # type: ignore[import-untyped]  # has no types

    with reaching(address, key=key), fsspec.open(address, "rb", compression="infer") as stream:
        yield stream


def names_inside(place: str, *, key: str) -> list[str] | None:
    """Return the names of all files in a folder, relative to it; None if the place is one file.

    Raises:
        ConfigError: There is no file at the place, or as `list_files`.
        OverwinterError: It cannot be reached.
    """
    found = _some_files(place, key)
    with reaching(place, key=key):
        files, path = _file_system(place)
        return None if files.isfile(path) else [_inside(path, files._strip_protocol(each)) for each in found]


def fetch(place: str, folder: Path, *, key: str) -> Path:
    """Copy a file or a folder into an empty local folder, and return the copy's path.

    Raises:
        ConfigError: There is no file at the place, a name would leave the folder, or as `list_files`.
        IntegrityError: The place changed meanwhile.
        OverwinterError: The place cannot be reached.
    """
    before = _some_files(place, key)
    with reaching(place, key=key):
        files, path = _file_system(place)
        single = files.isfile(path)
        names = [path] if single else [files._strip_protocol(address) for address in before]
        inside = [_file_name(place) if single else _inside(path, name) for name in names]
        targets = [_target(folder, name, place, key) for name in inside]
        files.get(names, [str(target) for target in targets])
    if _some_files(place, key) != before or not all(target.is_file() for target in targets):
        raise IntegrityError(f"{key}={place!r} changed while it was fetched. Run the same command again.")
    return targets[0] if single else folder


@contextlib.contextmanager
def reaching(place: str, *, key: str) -> Iterator[None]:
    """Convert the exceptions of fsspec's drivers, which have no common class, to our own."""
    try:
        yield
    except OverwinterError:
        raise
    except ImportError as error:
        raise ConfigError(f"{key}={place!r} needs a driver: {error}.{how_to_install(place)}") from None
    except Exception as error:  # noqa: BLE001 -- see above
        raise _explained(error, place, key) from None


def how_to_install(place: str) -> str:
    """Return a line with the command that installs the driver of an address; empty where only the driver knows."""
    scheme = place.partition("://")[0].rpartition("::")[2]
    return f"\nRun: pip install {_PACKAGES[scheme]}" if scheme in _PACKAGES else ""


@contextlib.contextmanager
def _telling(place: str, key: str) -> Iterator[None]:
    """Say on standard error what is waited for, once that takes long: drivers try for minutes without a word."""
    notice = threading.Timer(_NOTICE_S, _tell, (place, key))
    notice.daemon = True
    if is_remote(place):
        notice.start()
    try:
        yield
    finally:
        notice.cancel()


def _tell(place: str, key: str) -> None:
    print(
        f"overwinter: {key}={place!r} is not listed after {_NOTICE_S:g} s; its driver goes on trying, maybe for "
        f"minutes. Ctrl-C ends it.\n{_CHECK_NETWORK}.",
        file=sys.stderr,
        flush=True,
    )


def _explained(error: Exception, place: str, key: str) -> OverwinterError:
    cause = error.__cause__ or error  # HTTP's driver says that a file is missing whatever happened
    said = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
    if isinstance(cause, PermissionError) or _is_denied(cause):
        return ConfigError(
            f"{key}={place!r} may not be read: {said}.\nGive credentials in the environment (S3: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) or in the driver's own file, such as ~/.aws/credentials."
        )
    if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == _ABSENT_STATUS or _NO_BUCKET in said:
        return ConfigError(f"{key}={place!r} does not exist: there is no such bucket, folder or file.")
    if isinstance(cause, ValueError) and "Protocol not known" in said:
        remedy = how_to_install(place) or " Name an address such as s3://bucket/folder."
        return ConfigError(f"{key}={place!r}: no driver is known for it.{remedy}")
    if not is_remote(place) or not (isinstance(cause, OSError) or type(cause).__module__ != "builtins"):
        return ConfigError(f"{key}={place!r} cannot be read: {said}.")
    return OverwinterError(
        f"{key}={place!r} cannot be read: {said}.\n{_CHECK_NETWORK}; then run the same command again."
    )


def _is_denied(error: BaseException) -> bool:
    named = any(word in type(error).__name__ for word in _DENIED)
    return named or getattr(error, "status", None) in _DENIED_STATUS


def _file_system(place: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # has no types

    files, path = url_to_fs(place)
    files.invalidate_cache()  # of listings: the place may have changed since
    return files, path


def _found(files: Any, path: str, *, pattern: bool) -> Mapping[str, Mapping[str, Any]]:
    """Return name -> what the file system says of it; nothing if there is no file."""
    if pattern:
        matches: dict[str, Any] = files.glob(path, detail=True)
        return {name: info for name, info in matches.items() if info.get("type", "file") == "file"}
    info = files.info(path)
    if info.get("type", "file") == "file":
        return {path: info}
    inside: dict[str, Any] = files.find(path, detail=True)
    return inside


def _version(info: Mapping[str, Any]) -> str:
    mark = next((str(info[name]) for name in _MARKS if info.get(name)), "")
    return digest([info.get("size"), mark])


def _is_pattern(place: str, path: str) -> bool:
    return not place.startswith("http") and any(sign in path for sign in _GLOB)  # there, they are part of a query


def _some_files(place: str, key: str) -> dict[str, str]:
    files = list_files(place, key=key)
    if not files:
        raise ConfigError(f"{key}={place!r} has no file. Name a file, a folder with files, or a pattern of files.")
    return files


def _inside(folder: str, name: str) -> str:
    return name[len(folder.rstrip("/")) + 1 :]


def _file_name(place: str) -> str:
    return PurePosixPath(urlsplit(place).path).name or "file"


def _target(folder: Path, name: str, place: str, key: str) -> Path:
    path = folder / name
    if ".." in PurePosixPath(name).parts or not path.is_relative_to(folder):
        raise ConfigError(f"{key}={place!r} has a file that is called {name!r}, outside of the folder. Rename it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _refuse_secrets(place: str, key: str) -> None:
    parts = urlsplit(place) if is_remote(place) else None
    if parts is not None and (parts.password is not None or _SIGNED & parse_qs(parts.query.lower()).keys()):
        raise ConfigError(
            f"{key} has a password or a signature in its address, which params.yaml would show. Give it to the driver "
            "in the environment or in its own file."
        )
