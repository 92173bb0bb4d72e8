"""Records in the headers of frames: written, and read by this version or another."""

import io

import pytest

from overwinter.errors import IntegrityError
from overwinter.serving.worker.frames import pack_frame, read_frame
from overwinter.serving.worker.records import FirstPiece, Order, Piece, Question, Report

RECORDS = [
    Order(operation="park"),
    Question(operation="infer", headers={"accept": "*/*"}, model="digits", within_s=1.5),
    Report(status="ready", wake_s=0.25, steps_s={"load": 0.125}),
    FirstPiece(status=200, headers={"Content-Type": "text/plain"}, more=True),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_was_written_is_read(record):
    frame = read_frame(io.BytesIO(pack_frame(record.header())))
    assert type(record).read(frame.header) == record


def test_fields_of_a_newer_version_are_ignored():
    assert Piece.read({"more": True, "since": "version 9"}) == Piece(more=True)


def test_what_is_missing_is_named():
    with pytest.raises(IntegrityError, match=r"A Question lacks headers, within_s\. .* different versions"):
        Question.read({"operation": "infer", "model": "digits"})
