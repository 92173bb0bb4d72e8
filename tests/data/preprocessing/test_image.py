import contextlib
import io
import struct
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from overwinter.data import Image, as_json, read_preprocessing
from overwinter.errors import ConfigError

pillow = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def file_of(pixels, kind="PNG"):
    buffer = io.BytesIO()
    pillow.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def claiming(width, height):
    """A PNG file of a few bytes that claims to be large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_file_becomes_scaled_channels():
    image = Image([6, 4], mean=[0.5, 0.25, 0.0], std=[0.5, 1.0, 2.0])
    expected = np.moveaxis((PIXELS / 255 - [0.5, 0.25, 0.0]) / [0.5, 1.0, 2.0], -1, 0)
    np.testing.assert_allclose(image.prepare([file_of(PIXELS)])[0], expected, atol=1e-5)
    assert image.prepare([file_of(PIXELS)] * 2).shape == (2, 3, 6, 4)


def test_a_batch_lies_in_memory_as_its_shape_says():
    """Else the textbook's ``x.view(len(x), -1)`` fails in training and in the server."""
    for samples in ([PIXELS], [file_of(PIXELS)] * 2):
        assert Image([6, 4]).prepare(samples).flags.c_contiguous


def test_an_array_is_as_good_as_its_file():
    image = Image([3, 3])
    np.testing.assert_array_equal(image.prepare([PIXELS]), image.prepare([file_of(PIXELS)]))


@pytest.mark.parametrize(("fit", "sides"), [("stretch", (5, 7)), ("crop", (5, 7)), ("crop", (2, 2))])
def test_images_of_any_size_get_the_models(fit, sides):
    files = [file_of(PIXELS), file_of(PIXELS[:2, :, 0]), file_of(PIXELS, "JPEG")]
    assert Image(sides, fit=fit).prepare(files).shape == (3, 3, *sides)


def test_a_grey_model_takes_coloured_files():
    assert Image([6, 4], channels=1).prepare([file_of(PIXELS), PIXELS[..., 0], PIXELS[..., :1]]).shape == (3, 1, 6, 4)


def test_transparency_and_palettes_are_converted():
    buffer = io.BytesIO()
    pillow.fromarray(PIXELS).convert("P").save(buffer, "PNG")
    with_alpha = np.concatenate([PIXELS, np.full((6, 4, 1), 9, np.uint8)], axis=2)
    assert Image([6, 4]).prepare([buffer.getvalue(), file_of(with_alpha)]).shape == (2, 3, 6, 4)


def test_without_a_size_images_keep_theirs_if_all_have_the_same():
    assert Image().prepare([PIXELS, PIXELS]).shape == (2, 3, 6, 4)
    with pytest.raises(ConfigError, match="different sizes"):
        Image().prepare([PIXELS, PIXELS[:2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Image 0: it is no PNG or JPEG file"),
        (b"GIF89a" + bytes(50), "no PNG or JPEG"),
        (b"<svg/>", "no PNG or JPEG"),
        (file_of(PIXELS, "GIF"), "no PNG or JPEG"),
        (file_of(PIXELS, "TIFF"), "no PNG or JPEG"),
        (file_of(PIXELS)[:-30], "damaged"),
        (file_of(np.zeros((90, 90, 3), np.uint8), "JPEG")[:-300], "damaged|cannot be read"),
        (claiming(8000, 8000), "64000000|33554432 are taken"),
        (claiming(60_000, 60_000), "cannot be read|are taken"),
        (claiming(2**31 - 1, 2**31 - 1), "cannot be read|are taken"),
        (file_of((np.arange(24, dtype=np.uint16) * 2000).reshape(4, 6)), "more than 8 bits"),
        (np.zeros((2, 2), np.float32), r"float32 \[2, 2\]; an image is"),
        (np.zeros((2, 2, 4), np.uint8), "an image is"),
        (np.zeros((0, 2), np.uint8), "an image is"),
        ("text", "an image is"),
        (None, "an image is"),
    ],
)
def test_what_is_no_image_is_refused(content, message):
    with pytest.raises(ConfigError, match=message):
        Image([6, 4]).prepare([content])


def test_no_image_is_refused():
    with pytest.raises(ConfigError, match="no image"):
        Image().prepare([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": [0, 3]}, "size"),
        ({"size": 3}, "size"),
        ({"size": [1 << 20, 1 << 20]}, "size"),
        ({"channels": 4}, "channels"),
        ({"std": 0}, "above zero"),
        ({"mean": [1, 2]}, "2 values for 3 channels"),
        ({"fit": "squeeze"}, "fit"),
        ({"filter": "magic"}, "filter"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ConfigError, match=f"preprocessing.*{message}|{message}"):
        Image(**arguments)


def test_its_json_makes_the_same_again():
    image = Image((5, 7), channels=1, mean=0.5, std=[0.25], fit="crop", filter="bicubic")
    again = read_preprocessing(as_json(image))
    np.testing.assert_array_equal(again.prepare([PIXELS]), image.prepare([PIXELS]))
    with pytest.raises(ConfigError, match="has rotate"):
        read_preprocessing({**as_json(image), "rotate": 90})


@hypothesis.given(st.data())
def test_a_damaged_file_is_read_or_refused(data):
    content = bytearray(file_of(PIXELS, data.draw(st.sampled_from(["PNG", "JPEG"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ConfigError):
        assert Image([6, 4]).prepare([bytes(content)]).shape == (1, 3, 6, 4)
