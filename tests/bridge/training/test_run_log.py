from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bridge.training import run_log
from bridge.training.run_log import METRICS_FILE, MetricsReader, RunLog, format_line, read_metrics

LINE = {
    "total_steps": 100_000,
    "epoch": 1,
    "images_per_step": 64,
    "images_per_second": 128.0,
    "data_wait": 0.014,
    "seconds": 5.0,
    "loss/total": 3.0,
    "loss/blur": 0.5,
    "loss/contrastive": 0.25,
    "unreadable": 0,
}


def line(loss: float) -> dict[str, float]:
    return LINE | {"loss/total": loss}


def log_steps(run: str, from_step: int, *steps: int, loss: float = 1.0) -> None:
    with RunLog(run, from_step) as log:
        for step in steps:
            log.add(step, line(loss))


def steps(lines: list[dict]) -> list[tuple[int, float]]:
    return [(line["step"], line["loss/total"]) for line in lines]


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    """A folder under a URI: treated as an object store, where nothing can be appended to."""
    return f"file://{tmp_path}"


def test_log_is_readable_at_any_time_and_by_tensorboard(tmp_path: Path) -> None:
    run = str(tmp_path)
    assert read_metrics(run) == []
    with RunLog(run, 0) as log:
        for step in (10, 20):
            log.add(step, line(1.0 / step))
            assert read_metrics(run)[-1] == {"step": step, **line(1.0 / step)}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss/total")] == [10, 20]


def test_a_line_is_appended_and_nothing_before_it_written_again(tmp_path: Path) -> None:
    with RunLog(str(tmp_path), 0) as log:
        log.add(1, line(1.0))
        inode = (tmp_path / METRICS_FILE).stat().st_ino
        with open(tmp_path / METRICS_FILE, "r+b") as file:
            file.write(b"X")
        log.add(2, line(1.0))
    assert (tmp_path / METRICS_FILE).stat().st_ino == inode
    assert (tmp_path / METRICS_FILE).read_bytes().startswith(b"X")


def test_resuming_takes_back_what_was_logged_beyond_the_checkpoint(tmp_path: Path) -> None:
    run = str(tmp_path)
    log_steps(run, 0, 10, 20, 30)
    log_steps(run, 20, 30, loss=2.0)
    assert steps(read_metrics(run)) == [(10, 1.0), (20, 1.0), (30, 2.0)]


@pytest.mark.parametrize("rest", [b'{"step": 30, "lo', b'{"step": 30}', b"\0\0\0\n", b"30\n"])
def test_what_a_crash_left_of_a_line_is_dropped(tmp_path: Path, rest: bytes) -> None:
    run = str(tmp_path)
    log_steps(run, 0, 10, 20)
    with open(tmp_path / METRICS_FILE, "ab") as file:
        file.write(rest)
    assert steps(read_metrics(run)) == [(10, 1.0), (20, 1.0)]
    log_steps(run, 20, 30)
    assert steps(read_metrics(run)) == [(10, 1.0), (20, 1.0), (30, 1.0)]
    assert all(json.loads(line) for line in (tmp_path / METRICS_FILE).open())


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\0\xff",
        b"[" * 100_000,
        b"null",
        b'{"step": 20}',
        json.dumps({"step": "20"} | LINE).encode(),
        json.dumps({"step": 20} | LINE | {"loss/blur": 10**400}).encode(),
        json.dumps({"step": 20} | LINE | {"loss/blur": float("nan")}).encode(),
    ],
    ids=["empty", "cut", "binary", "deep", "null", "little", "text", "huge", "nan"],
)
def test_a_damaged_line_is_lost_alone(tmp_path: Path, damage: bytes) -> None:
    run = str(tmp_path)
    log_steps(run, 0, 10, 20, 30)
    lines = (tmp_path / METRICS_FILE).read_bytes().splitlines()
    (tmp_path / METRICS_FILE).write_bytes(b"\n".join([lines[0], damage, lines[2], b""]))
    reader = MetricsReader(run)
    assert steps(reader.new_lines()) == [(10, 1.0), (30, 1.0)]
    log_steps(run, 30, 40)
    assert steps(reader.new_lines()) == [(30, 1.0), (40, 1.0)]
    assert steps(read_metrics(run)) == [(10, 1.0), (30, 1.0), (40, 1.0)]


def test_an_earlier_attempt_that_still_lives_cannot_write_into_the_log(tmp_path: Path) -> None:
    run = str(tmp_path)
    with RunLog(run, 0) as dying:
        dying.add(10, line(1.0))
        with RunLog(run, 10) as log:
            dying.add(20, line(5.0))
            log.add(20, line(2.0))
    assert steps(read_metrics(run)) == [(10, 1.0), (20, 2.0)]


def test_object_stores_get_the_log_at_intervals_and_at_the_end(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunLog(bucket, 0) as log:
        log.add(10, line(1.0))
        assert read_metrics(bucket) == []
        log.flush()
        assert steps(read_metrics(bucket)) == [(10, 1.0)]
        monkeypatch.setattr(run_log, "SECONDS_BETWEEN_UPLOADS", 0.0)
        log.add(20, line(1.0))
        assert len(read_metrics(bucket)) == 2
        monkeypatch.setattr(run_log, "SECONDS_BETWEEN_UPLOADS", 30.0)
        log.add(30, line(1.0))
        log.add_picture("examples", 30, np.zeros((4, 4, 3), dtype=np.uint8))
        assert len(read_metrics(bucket)) == 2
    assert steps(read_metrics(bucket)) == [(10, 1.0), (20, 1.0), (30, 1.0)]
    log_steps(bucket, 20, 30, loss=2.0)
    assert steps(read_metrics(bucket)) == [(10, 1.0), (20, 1.0), (30, 2.0)]


@pytest.mark.parametrize("remote", [False, True])
def test_the_reader_gives_each_line_once(remote: bool, tmp_path: Path) -> None:
    run = f"file://{tmp_path}" if remote else str(tmp_path)
    reader = MetricsReader(run)
    assert reader.new_lines() == []
    with RunLog(run, 0) as log:
        for step in (10, 20, 30):
            log.add(step, line(1.0))
            log.flush()
            assert steps(reader.new_lines()) == [(step, 1.0)]
            assert reader.new_lines() == []


def test_the_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    reader = MetricsReader(str(tmp_path))
    with open(tmp_path / METRICS_FILE, "ab", buffering=0) as file:
        first, second = (json.dumps({"step": 10 * n} | line(n)).encode() for n in (1, 2))
        file.write(first + b"\n" + second[:12])
        assert steps(reader.new_lines()) == [(10, 1.0)]
        assert reader.new_lines() == []
        file.write(second[12:] + b"\n")
    assert steps(reader.new_lines()) == [(20, 2.0)]


@pytest.mark.parametrize("looked", [False, True], ids=["only afterwards", "in between"])
def test_the_reader_gives_what_replaces_lines_that_a_restart_took_back(
    tmp_path: Path, looked: bool
) -> None:
    run = str(tmp_path)
    log_steps(run, 0, 10, 20, 30)
    reader = MetricsReader(run)
    assert len(reader.new_lines()) == 3
    if looked:
        RunLog(run, 10).__exit__(None, None, None)
        assert reader.new_lines() == []
    log_steps(run, 10, 20, 30, 40, loss=2.0)
    assert steps(reader.new_lines()) == [(20, 2.0), (30, 2.0), (40, 2.0)]
    log_steps(run, 0, 10, loss=3.0)
    assert steps(reader.new_lines()) == [(10, 3.0)]


def test_pictures_are_in_tensorboard(tmp_path: Path) -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    with RunLog(str(tmp_path), 0) as log:
        log.add_picture("examples", 5, picture)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("examples")
    assert (image.step, image.width, image.height) == (5, 8, 6)


def test_line_for_people() -> None:
    text = format_line({"step": 40} | LINE)
    assert "step 40/100000  epoch 2  loss 3.000 (blur 0.500, contrastive 0.250)" in text
    assert "data wait 1.4%  13:53:00 left" in text
    assert "unreadable" not in text and "mAP" not in text


def test_line_with_a_validation_and_images_that_could_not_be_read() -> None:
    scores = {"validation/map_at_500": 0.25, "validation/map": 0.2, "unreadable": 3.0}
    text = format_line({"step": 40} | LINE | scores)
    assert "unreadable images 3" in text and "validation mAP@500 0.2500, mAP 0.2000" in text
