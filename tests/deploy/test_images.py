import pytest

from overwinter.deploy.images import checked_image, is_pinned
from overwinter.errors import ConfigError

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    "name",
    ["python", "python:3.12", "localhost/model", "localhost:5000/a/b-c:1", "registry.example/model:1", "a__b/c.d:A_1"],
)
def test_a_tag_can_be_moved(name):
    assert checked_image(name, key="--image") == name
    assert not is_pinned(name)
    assert is_pinned(checked_image(f"{name}@{DIGEST}", key="--image"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/B",
        "a b",
        "a:",
        "a@sha256:12",
        f"a@{DIGEST}0",
        f"a@md5:{'0' * 32}",
        "a//b",
        "a\nb: c",
        "-a",
        f"a@{DIGEST.upper()}",
    ],
)
def test_what_is_no_image_is_refused(name):
    assert not is_pinned(name)
    with pytest.raises(ConfigError, match=r"--image .* is not an image name"):
        checked_image(name, key="--image")
