import fcntl
import json
import logging
import os
import re
import signal
import threading
import time

import mindspore as ms
import numpy as np
import pytest

from src.contract import InputError
from src.engine import build, checkpoint, loop, start
from src.engine.callbacks import Stopped
from src.engine.runtime import Runtime
from tests.conftest import running_mode
from tests.engine.tiny_task import CPU, Points, TinyTask, jitter, settings, weight

pytestmark = pytest.mark.usefixtures("graph_mode")


def lines(folder, kind="train"):
    read = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in read if line["kind"] == kind]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 10 steps: its folder and what it logged."""
    folder = tmp_path_factory.mktemp("finished")
    logger, said = logging.getLogger("src"), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    with running_mode("GRAPH"):
        last = loop.train(TinyTask(), settings(folder, eval_interval=1, log_steps=2), CPU)
    logger.removeHandler(handler)
    logger.setLevel(level)
    return folder, last, said


def test_checkpoints_are_every_save_steps_at_the_end_and_the_best(finished):
    folder, last, _ = finished
    assert sorted(p.name for p in folder.glob("*.ckpt")) == [
        "line-1_3.ckpt", "line-1_5.ckpt", "line-2_1.ckpt", "line-2_4.ckpt", "line-2_5.ckpt", "line_best.ckpt"]
    assert last == folder / "line-2_5.ckpt"


def test_log_lines_have_the_published_shape(finished):
    folder, _, said = finished
    losses = [line for line in said if line.startswith("epoch:")]
    assert [line.split(" ,")[0] for line in losses] == [
        "epoch:1 step:2", "epoch:1 step:4", "epoch:1 step:5", "epoch:2 step:1", "epoch:2 step:3", "epoch:2 step:5"]
    assert re.fullmatch(r"epoch:1 step:2 ,absolute:\d\.\d{5}, squared:\d\.\d{5}", losses[0])
    assert (folder / "loss_0.log").read_text().splitlines() == losses
    assert sum(line.startswith("Epoch time: ") and "per step time: " in line for line in said) == 2


def test_each_graph_says_once_that_it_is_compiled(finished):
    *_, said = finished
    assert [line.split(" (")[0] for line in said if line.startswith("compiling ")] == [
        "compiling the training graph", "compiling the evaluation graph"]
    assert sum("ran it for the first time in 0:" in line for line in said) == 2


def test_every_step_has_a_line_of_numbers(finished):
    folder, *_ = finished
    train, evaluated = lines(folder), lines(folder, "eval")
    assert [(line["epoch"], line["step"]) for line in train] == [(1 + i // 5, i + 1) for i in range(10)]
    assert {"squared", "absolute", "loss_scale", "grad_norm", "data_wait", "skipped_steps"} <= set(train[0])
    rates = [line["learning_rate"] for line in train]
    np.testing.assert_allclose(rates, 0.025 * (1 + np.cos(np.pi * np.arange(10) / 10)), rtol=1e-5)
    assert [line["step"] for line in evaluated] == [5, 10]
    assert all(line["images"] == 10 for line in evaluated)
    assert list((folder / "tensorboard").iterdir())


def test_loss_of_the_first_step_is_that_of_the_first_samples(finished):
    folder, *_ = finished
    from src.data import order
    ids = order.rank_order(10, seed=1, epoch=0, batch_size=2)[:2]
    rows = [jitter(r.image, r.target, order.sample_rng(1, 0, i)) for i, r in zip(ids, Points().rows(ids))]
    errors = [0.5 * x.sum() - y for x, y in rows]
    assert lines(folder)[0]["squared"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
    assert lines(folder)[0]["absolute"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)


def test_best_checkpoint_is_the_best_evaluation(finished):
    folder, *_ = finished
    scores = [line["score"] for line in lines(folder, "eval")]
    assert scores[1] > scores[0]
    assert weight(folder / "line_best.ckpt") == weight(folder / "line-2_5.ckpt")


def test_checkpoint_says_what_it_is(finished):
    folder, *_ = finished
    _, metadata = checkpoint.load(folder / "line-2_4.ckpt")
    assert (metadata["step"], metadata["epoch"], metadata["steps_per_epoch"], metadata["seed"]) == (9, 2, 5, 1)
    assert metadata["class_names"] == ["line"]
    assert metadata["config"]["base_lr"] == 0.05


def test_resumed_run_ends_as_the_undisturbed_one(finished, tmp_path):
    folder, *_ = finished
    (tmp_path / "line-1_3.ckpt").write_bytes((folder / "line-1_3.ckpt").read_bytes())
    (tmp_path / "line-1_5.ckpt").write_bytes((folder / "line-1_5.ckpt").read_bytes()[:-100])  # half written
    last = loop.train(TinyTask(), settings(tmp_path, resume=True, workers=3), CPU)
    ours, theirs = (ms.load_checkpoint(str(p)) for p in (last, folder / "line-2_5.ckpt"))
    assert {k for k in ours if k != "metadata"} == {k for k in theirs if k != "metadata"} >= {
        "weight", "moments.weight", "global_step", "state.loss_scale", "state.good_steps"}
    for name in ours.keys() - {"metadata"}:
        np.testing.assert_array_equal(ours[name].asnumpy(), theirs[name].asnumpy(), err_msg=name)


def test_a_run_that_goes_on_on_another_machine_says_that_bits_will_differ(finished, tmp_path, monkeypatch, caplog):
    folder, *_ = finished
    (tmp_path / "line-1_5.ckpt").write_bytes((folder / "line-1_5.ckpt").read_bytes())
    here = loop.runtime.machine_of_rank()
    assert checkpoint.load(folder / "line-1_5.ckpt")[1]["machines"] == [here]
    loop.train(TinyTask(), settings(tmp_path, resume=True), CPU)
    assert "bits of an undisturbed" not in caplog.text
    (tmp_path / "line-2_5.ckpt").unlink()
    monkeypatch.setattr(loop.runtime, "machine_of_rank", lambda: here | {"usable_cores": 999, "instruction_set": "sve"})
    loop.train(TinyTask(), settings(tmp_path, resume=True, deterministic=False), CPU)
    assert ("this run will not end with the bits of an undisturbed one: "
            f"instruction_set=sve on rank 0 (was {here['instruction_set']}), usable_cores=999 on rank 0 (was "
            f"{here['usable_cores']}). Results are equally good") in caplog.text


def test_a_run_on_a_device_says_so_when_it_is_no_longer_deterministic(tmp_path, caplog):
    now = settings(tmp_path, device_target="Ascend", deterministic=False)
    start._compare_machines([{}], [{}], now, {"deterministic": False})
    start._compare_machines([{}], [{}], now, {})
    assert not caplog.text
    start._compare_machines([{}], [{}], now, {"deterministic": True})
    assert "undisturbed one: deterministic=False (was True)." in caplog.text


def test_a_finished_run_is_not_trained_again(finished):
    folder, last, _ = finished
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.glob("*.ckpt"))
    assert loop.train(TinyTask(), settings(folder, resume=True), CPU) == last
    assert sorted((p.name, p.stat().st_mtime_ns) for p in folder.glob("*.ckpt")) == before


def test_lines_of_steps_that_are_done_again_are_replaced(finished, tmp_path):
    folder, *_ = finished
    (tmp_path / "line-1_3.ckpt").write_bytes((folder / "line-1_3.ckpt").read_bytes())
    (tmp_path / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text() + '{"kind": "tr')
    loop.train(TinyTask(), settings(tmp_path, resume=True), CPU)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 11))


def test_results_of_an_earlier_run_stay_unless_it_is_resumed(finished):
    folder, *_ = finished
    with pytest.raises(InputError, match="or logs of an earlier run; go on with --resume or name another"):
        loop.train(TinyTask(), settings(folder), CPU)


def test_resuming_with_other_settings_is_refused_and_leaves_the_old_ones(finished):
    folder, *_ = finished
    before = (folder / "config.yaml").read_text()
    with pytest.raises(InputError, match=r"accumulate_steps=2 \(was 1\)\. Resume with --accumulate_steps=1,"):
        loop.train(TinyTask(), settings(folder, resume=True, accumulate_steps=2), CPU)
    with pytest.raises(InputError, match=r"ema_decay=0.9 \(was 0.0\)\. Resume with --ema_decay=0.0, as in config.yaml"):
        loop.train(TinyTask(), settings(folder, resume=True, ema_decay=0.9), CPU)
    with pytest.raises(InputError, match="10 samples with 5 steps an epoch, now there are 10 with 2; resume with"):
        loop.train(TinyTask(), settings(folder, resume=True, batch_size=4), CPU)
    assert (folder / "config.yaml").read_text() == before


def test_two_runs_cannot_write_into_one_folder(tmp_path):
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=f"--output_dir={tmp_path}: another run is writing into this folder"):
            loop.train(TinyTask(), settings(tmp_path), CPU)
    assert not (tmp_path / "config.yaml").exists()


def test_half_written_files_of_a_killed_run_are_removed_and_others_stay(tmp_path):
    (tmp_path / ".unfinished-1-line-1_3.ckpt").write_bytes(b"half")
    (tmp_path / "weights.ckpt").write_bytes(b"of no run")
    loop.train(TinyTask(), settings(tmp_path, keep_checkpoint_max=2), CPU)
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == ["line-2_4.ckpt", "line-2_5.ckpt", "weights.ckpt"]


def test_non_finite_loss_stops_with_everything_that_is_needed_to_repeat_it(tmp_path):
    task = TinyTask(Points(bad=4))
    options = settings(tmp_path, loss_scale=8.0, dynamic_loss_scale=True)
    with pytest.raises(InputError) as error:
        loop.train(task, options, CPU)
    last = lines(tmp_path)[-1]
    step, file = last["step"], tmp_path / f"replay-{last['step']}.ckpt"
    message = str(error.value)
    for words in (f"the loss is not finite at step {step} (epoch 1, step {step}): squared=nan, absolute=nan",
                  f"learning_rate={last['learning_rate']:.6g}", "loss_scale=8", f"--replay {file}"):
        assert words in message
    assert "4" in message.split("sample ids [")[1].split("]")[0].split(", ")
    numbers = loop.replay(task, options.model_copy(update={"replay": str(file)}), CPU)
    assert np.isnan(numbers["squared"])
    assert numbers["finite"] == 0
    good = loop.replay(TinyTask(), options.model_copy(update={"replay": str(file)}), CPU)
    assert np.isfinite(good["squared"])


def test_an_overflowing_gradient_stops_the_run(tmp_path):
    task = TinyTask(Points(bad=4, value=1.8e19))  # its square is below float32's largest, that of the gradient is not
    with pytest.raises(InputError, match="the gradient is not finite at step"):
        loop.train(task, settings(tmp_path), CPU)


def test_a_dynamic_scale_skips_overflowing_steps_and_goes_on(tmp_path):
    task = TinyTask(Points(bad=4, value=30.0))  # gradient about 90, times the scale beyond float32
    loop.train(task, settings(tmp_path, loss_scale=2.0 ** 126, dynamic_loss_scale=True), CPU)
    last = lines(tmp_path)[-1]
    assert last["step"] == 10
    assert last["skipped_steps"] > 0
    assert last["loss_scale"] < 2.0 ** 126


def test_replay_takes_no_other_checkpoint(finished, tmp_path):
    folder, *_ = finished
    with pytest.raises(InputError, match="a checkpoint, but not one that a non-finite loss left"):
        loop.replay(TinyTask(), settings(tmp_path, replay=str(folder / "line-1_3.ckpt")), CPU)


def test_sigterm_writes_a_checkpoint_and_the_run_goes_on_from_it(finished, tmp_path):
    def terminate():
        while not (tmp_path / "metrics.jsonl").exists() or len(lines(tmp_path)) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(Stopped) as stopped:
        loop.train(TinyTask(), settings(tmp_path, epochs=2000, save_steps=100000, base_lr=1e-4), CPU)
    assert stopped.value.signal == signal.SIGTERM
    last = stopped.value.checkpoint
    thread.join()
    done = len(lines(tmp_path))
    assert 2 <= done < 10000
    assert last.name == f"line-{(done - 1) // 5 + 1}_{(done - 1) % 5 + 1}.ckpt"
    assert checkpoint.load(last)[1]["step"] == done


def test_too_few_samples_are_complained_of_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError, match="points has 3 samples, fewer than batch_size=4 x 1 processes; lower --batch"):
        loop.train(TinyTask(Points(3)), settings(tmp_path / "run", batch_size=4), CPU)
    assert not (tmp_path / "run").exists()


def test_accumulation_updates_every_k_steps_with_the_rates_of_the_updates(tmp_path):
    loop.train(TinyTask(), settings(tmp_path, accumulate_steps=5), CPU)
    assert [line["applied"] for line in lines(tmp_path)] == [0, 0, 0, 0, 1] * 2
    assert [line["learning_rate"] for line in lines(tmp_path)][-1] == pytest.approx(0.025)


def test_the_learning_rate_decays_over_its_own_epochs_after_warm_up(tmp_path):
    """The model zoo's: base * (1 + cos(pi * (i - warm-up) / total)) / 2, total of more epochs than are run."""
    options = settings(tmp_path, epochs=3, lr_epochs=4, warmup_steps=2, base_lr=0.02)
    rates = build.update_rates(options, per_epoch=5, world_size=1)
    assert rates.shape == (15,)
    np.testing.assert_allclose(rates[:2], [0.02 / 3, 0.02 * 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(rates[2:], 0.01 * (1 + np.cos(np.pi * np.arange(13) / 20)), rtol=1e-6)


def test_a_run_goes_on_from_another_ones_optimizer_at_an_epoch(finished, tmp_path):
    folder, *_ = finished
    pretrained = str(folder / "line-1_5.ckpt")
    last = loop.train(TinyTask(), settings(tmp_path, pretrained=pretrained, start_epoch=1), CPU)
    assert [line["step"] for line in lines(tmp_path)] == list(range(6, 11))
    assert weight(last) == weight(folder / "line-2_5.ckpt")
    with pytest.raises(InputError, match="pretrain_epoch_size=2: needs --pre_trained=CHECKPOINT, and less than the 2"):
        loop.train(TinyTask(), settings(tmp_path / "late", pretrained=pretrained, start_epoch=2), CPU)


def test_a_folder_with_another_models_checkpoints_is_refused(tmp_path):
    (tmp_path / "other-1_3.ckpt").write_bytes(b"of another model")
    for resume in (False, True):
        with pytest.raises(InputError, match="checkpoints of another model .other-1_3.ckpt.; name another folder"):
            loop.train(TinyTask(), settings(tmp_path, resume=resume), CPU)


def test_a_run_is_not_resumed_with_other_settings(finished):
    folder, *_ = finished
    with pytest.raises(InputError, match=r"the run has other settings: seed=9 \(was 1\)\. Resume with --seed=1,"):
        loop.train(TinyTask(), settings(folder, resume=True, eval_interval=1, seed=9), CPU)


def test_a_run_is_resumed_with_its_own_noise_alone(finished, tmp_path):
    folder, last, _ = finished
    with pytest.raises(InputError, match=r"line-2_5.ckpt: .* version 2, now it is --noise=1. Resume with --noise=2, or "
                                         r"start a new run from its weights: --pretrained=.*line-2_5.ckpt"):
        loop.train(TinyTask(), settings(folder, resume=True, noise=1), CPU)
    values, metadata = checkpoint.load(last)
    del metadata["config"]["noise"]  # as of a run from before there was version 2
    step = loop.build_step(TinyTask(), settings(tmp_path), CPU, TinyTask().network(), 5)
    checkpoint.restore(step, values, last)
    checkpoint.save(tmp_path / last.name, step, metadata)
    with pytest.raises(InputError, match=r"version 1, now it is --noise=2. Resume with --noise=1"):
        loop.train(TinyTask(), settings(tmp_path, resume=True), CPU)
    assert loop.train(TinyTask(), settings(tmp_path, resume=True, noise=1), CPU) == tmp_path / last.name


def test_a_device_that_computes_other_noise_is_refused_before_the_first_step(tmp_path, monkeypatch):
    def refuse():
        raise InputError("not NumPy's")

    monkeypatch.setattr("src.layers.product_noise.check_device", refuse)
    with pytest.raises(InputError, match="not NumPy's"):
        loop.train(TinyTask(), settings(tmp_path), Runtime("Ascend"))
    loop.train(TinyTask(), settings(tmp_path, epochs=1), CPU)


def test_a_run_is_not_resumed_on_other_samples(finished):
    folder, *_ = finished
    with pytest.raises(InputError, match="was trained on 10 samples with 5 steps an epoch, now there are 11 with 5"):
        loop.train(TinyTask(Points(11)), settings(folder, resume=True), CPU)


def test_a_run_too_short_for_one_update_is_refused(tmp_path):
    with pytest.raises(InputError, match="accumulate_steps=11: the run has 10 steps in all.*give at most 10"):
        loop.train(TinyTask(), settings(tmp_path, accumulate_steps=11), CPU)


def test_val_data_that_cannot_be_used_costs_no_training(tmp_path):
    class BadVal(TinyTask):
        def predictor(self, network):
            raise InputError("val.txt:3: bad label")

    with pytest.raises(InputError, match=r"val.txt:3: bad label\nThe training so far is in \S*line-1_5.ckpt; go on"):
        loop.train(BadVal(), settings(tmp_path, eval_interval=1), CPU)
    last = loop.train(TinyTask(), settings(tmp_path, eval_interval=1, resume=True), CPU)
    assert last.name == "line-2_5.ckpt"
    assert [line["step"] for line in lines(tmp_path, "eval")] == [5, 10]
