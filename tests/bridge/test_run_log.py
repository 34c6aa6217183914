from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bridge.run_log import RunLog, format_line, read_metrics


def test_log_is_readable_at_any_time_and_by_tensorboard(tmp_path: Path) -> None:
    run = str(tmp_path)
    assert read_metrics(run) == []
    with RunLog(run, 0) as log:
        for step in (10, 20):
            log.add(step, {"loss/total": 1.0 / step, "epoch": 0})
            assert read_metrics(run)[-1] == {"step": step, "loss/total": 1.0 / step, "epoch": 0}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss/total")] == [10, 20]


def test_resuming_takes_back_what_was_logged_beyond_the_checkpoint(tmp_path: Path) -> None:
    run = str(tmp_path)
    with RunLog(run, 0) as log:
        for step in (10, 20, 30):
            log.add(step, {"loss/total": 1.0})
    with RunLog(run, 20) as log:
        log.add(30, {"loss/total": 2.0})
    assert [(m["step"], m["loss/total"]) for m in read_metrics(run)] == [
        (10, 1.0),
        (20, 1.0),
        (30, 2.0),
    ]


def test_line_for_people() -> None:
    line = {
        "step": 40,
        "total_steps": 100,
        "epoch": 1,
        "images_per_step": 64,
        "images_per_second": 128.0,
        "data_wait": 0.014,
        "loss/total": 3.0,
        "loss/blur": 0.5,
        "validation/map": 0.25,
    }
    text = format_line(line)
    assert "step 40/100 epoch 2" in text and "loss 3.000 (blur 0.500)" in text
    assert "data wait 1.4%" in text and "30 s left" in text and "mAP 0.2500" in text
