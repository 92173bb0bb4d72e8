from overwinter.pipeline.events import EVENTS_FILE, EventReader, emit


def test_events_arrive_in_order_and_once(tmp_path, monkeypatch):
    path = tmp_path / "events"
    monkeypatch.setenv(EVENTS_FILE, str(path))
    reader = EventReader(path)
    assert list(reader.new()) == []
    emit("start", "train")
    emit("progress", "train", done=1, total=2, figures={"loss": 0.5})
    assert [event["event"] for event in reader.new()] == ["start", "progress"]
    emit("end", "train", exit_code=0, message="")
    assert [event["event"] for event in reader.new()] == ["end"]
    assert list(reader.new()) == []


def test_half_a_line_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "events"
    reader = EventReader(path)
    path.write_text('{"event": "start", "stage": "a"}\n{"event": "en')
    assert len(list(reader.new())) == 1
    with path.open("a") as stream:
        stream.write('d", "stage": "a"}\n')
    assert [event["event"] for event in reader.new()] == ["end"]


def test_without_a_listener_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(EVENTS_FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    emit("start", "train")
    assert list(tmp_path.iterdir()) == []


def test_a_listener_that_is_gone_does_not_stop_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv(EVENTS_FILE, str(tmp_path / "gone" / "events"))
    emit("start", "train")
