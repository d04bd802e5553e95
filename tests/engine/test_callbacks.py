"""What callbacks do beside a run that goes well, which `test_loop.py` shows."""
import logging
import resource
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from src.contract import InputError
from src.engine.metrics_log import MetricsLog, read
from src.engine.position import Position, clock
from src.engine.step_recorder import StepRecorder


def at(step: int) -> Position:
    """Three epochs of four steps, just after a step."""
    position = Position(4, 12, step - 1)
    position.advance(1)
    return position


@pytest.mark.parametrize(("step", "epoch", "within", "ends"), [(1, 1, 1, False), (4, 1, 4, True), (5, 2, 1, False),
                                                       (8, 2, 4, True), (9, 3, 1, False)])
def test_steps_are_counted_from_1_in_epochs_from_1(step, epoch, within, ends):
    position = at(step)
    assert (position.epoch, position.step_in_epoch, position.epoch_ends) == (epoch, within, ends)


def test_what_is_due_inside_a_chunk_is_done_at_its_end():
    position = Position(4, 12, 2)
    position.advance(3)  # steps 3 to 5
    assert [every for every in range(1, 8) if position.crossed(every)] == [1, 2, 3, 4, 5]


def test_a_run_is_finished_after_its_last_step():
    assert not Position(4, 12, 11).finished
    assert Position(4, 12, 12).finished


def test_remaining_time_goes_by_the_speed_of_this_process_after_its_first_step():
    position = Position(10, 100, 39)
    position.started -= 1000  # the graph was compiled
    position.advance(1)
    assert (position.seconds_per_step(), position.remaining(), clock(position.remaining())) == (None, None, "unknown")
    position.started -= 20
    position.advance(10)  # ten steps in 20 s
    assert position.remaining() == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (12.9, "0:12"), (75, "1:15"), (4000, "1:06:40")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_numbers_are_json_lines_that_a_resumed_run_continues(tmp_path):
    metrics = MetricsLog(tmp_path)
    for step in (1, 2, 3, 4):
        metrics.write("train", Position(2, 8, step), {"loss": 1.0 / step})
        if step % 2 == 0:
            metrics.write("eval", Position(2, 8, step), {"miou": step / 10})
    assert metrics.scores("miou") == {2: 0.2, 4: 0.4}
    metrics.close()
    resumed = MetricsLog(tmp_path, first_step=3)
    assert resumed.scores("miou") == {2: 0.2}  # step 4 is going to be done again
    resumed.close()
    assert [(line["kind"], line["step"], line["epoch"]) for line in read(tmp_path / "metrics.jsonl")] == [
        ("train", 1, 1), ("train", 2, 1), ("eval", 2, 1), ("train", 3, 2)]


def events(folder) -> list[Event]:
    """What a TensorBoard file holds: records of (length, checksum, Event, checksum)."""
    data, found = next((folder / "tensorboard").iterdir()).read_bytes(), []
    while data:
        end = 12 + struct.unpack("<Q", data[:8])[0]
        found.append(Event.FromString(data[12:end]))
        data = data[end + 4:]
    return found


def test_tensorboard_gets_the_finite_numbers_and_after_a_kill_all_that_stays(tmp_path):
    metrics = MetricsLog(tmp_path)
    for step in (3, 4):
        metrics.write("train", Position(2, 8, step), {"loss": step / 2, "skipped_steps": step - 2})
    for file in (tmp_path / "tensorboard").iterdir():
        file.unlink()  # what a kill may take
    metrics = MetricsLog(tmp_path, first_step=3)
    assert metrics.skipped_steps == 1
    metrics.write("train", Position(2, 8, 4), {"loss": 0.5, "rate": float("nan"), "norm": 2.0})
    metrics.close()
    version, start, kept, line = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert start.step == 1
    assert start.session_log.status == SessionLog.START
    assert kept.step == 3
    assert [(v.tag, v.simple_value) for v in kept.summary.value] == [
        ("train/loss", 1.5), ("train/skipped_steps", 1)]
    assert line.step == 4
    assert line.wall_time > 1.7e9
    assert [(v.tag, v.simple_value) for v in line.summary.value] == [("train/loss", 0.5), ("train/norm", 2.0)]


def test_a_full_disk_is_an_error_at_once(tmp_path):
    metrics = MetricsLog(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    written: list[int] = []

    def fill_the_disk():
        while len(written) < 100:
            metrics.write("train", Position(2, 800, len(written) + 1), {"loss": 0.5})
            written.append(len(written) + 1)

    try:
        with pytest.raises(InputError, match=f"{tmp_path}: the logs could not be written .*make room"):
            fill_the_disk()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [line["step"] for line in read(tmp_path / "metrics.jsonl")] == written


def test_a_line_that_a_killed_process_left_incomplete_is_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n{"kind": "tra')
    assert read(tmp_path / "metrics.jsonl") == [{"kind": "train", "step": 1}]
    assert read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(("epoch_end", "wait", "warned"), [(8, 3.0, True), (8, 0.1, False), (4, 3.0, False)])
def test_waiting_for_data_is_warned_about_after_the_first_epoch(tmp_path, caplog, epoch_end, wait, warned):
    metrics = MetricsLog(tmp_path)
    position = at(epoch_end)
    recorder = StepRecorder(position, loss_names=("loss",), learning_rate=lambda: 0.1, metrics=metrics, log_steps=0)
    recorder.last = {"loss": 2.5}
    recorder.wait, recorder.busy, position.first_step = wait, 3.0, epoch_end - 4
    with caplog.at_level(logging.INFO):
        recorder._say()
    metrics.close()
    assert f"epoch: {epoch_end // 4} step: 4, loss is 2.5" in caplog.text
    share = round(100 * wait / (wait + 3))
    assert f"waiting for data: {share} %" in caplog.text
    assert ("data is the bottleneck: 50 %" in caplog.text) == warned


def test_several_losses_stand_in_one_line_with_their_total_at_the_end(tmp_path, caplog):
    metrics = MetricsLog(tmp_path)
    recorder = StepRecorder(at(2), loss_names=("total", "rpn"), learning_rate=lambda: 0.1, metrics=metrics,
                            log_steps=2)
    recorder.last = {"total": 1.25, "rpn": 0.5}
    with caplog.at_level(logging.INFO):
        recorder._say()
    metrics.close()
    assert "epoch:1 step:2 ,rpn:0.50000, total:1.25000" in caplog.text
