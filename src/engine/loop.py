"""A training run: network, optimizer, data and callbacks put together around `mindspore.train.Model`."""
from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore.train import Model

from src.contract import InputError, Source, Task
from src.data import order
from src.data.pipeline import augmented_batch, training_batches
from src.engine import checkpoint, runtime, weights
from src.engine.callbacks import Checkpoints, Evaluation, StepRecorder, StopOnNonFinite
from src.engine.evaluate import evaluate
from src.engine.metrics_log import MetricsLog
from src.engine.optim import momentum_optimizer
from src.engine.precision import apply_amp, resolved_level
from src.engine.progress import Progress
from src.engine.schedules import learning_rates
from src.engine.settings import Settings
from src.engine.train_step import LossScale, TrainStep

log = logging.getLogger(__name__)


def train(task: Task, settings: Settings, machine: runtime.Runtime) -> Path:
    """Train and return the last checkpoint.

    Raises:
        InputError: data, checkpoint, memory or settings that cannot work, and a loss that is not finite.
    """
    source = task.source("train")
    _batches(task, settings, machine, source)  # complains of too few samples before anything is built
    with _own_folder(Path(settings.output_dir), settings) as folder:
        return _train(task, settings, machine, source, folder)


def _train(task: Task, settings: Settings, machine: runtime.Runtime, source: Source,
           folder: checkpoint.CheckpointFolder) -> Path:
    network = task.network()
    if settings.pretrained:
        load_pretrained(task, settings, network)
    per_epoch = order.steps_per_epoch(len(source), settings.batch_size, machine.world)
    step_cell = build_step(task, settings, machine, network, per_epoch)
    progress, last = _position(folder, step_cell, settings, per_epoch)
    (folder.folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    if progress.finished:
        log.info("the run in %s is finished: %s", folder.folder, last)
        return last
    runtime.check_memory(needed_bytes(task, network), settings.device_target, task.memory_flags())
    metrics = MetricsLog(folder.folder, progress.step)
    callbacks = _callbacks(task, settings, machine, step_cell, network, folder, progress, metrics)
    log.info("training %s on %d images: %d epochs of %d steps, %.1f million parameters", settings.model, len(source),
             settings.epochs, per_epoch, sum(p.size for p in network.get_parameters()) / 1e6)
    Model(step_cell).train(1, _batches(task, settings, machine, source, progress.step), callbacks=callbacks,
                           dataset_sink_mode=machine.data_sink,
                           sink_size=settings.sink_size if machine.data_sink else -1)
    metrics.close()
    return callbacks[2].saved


def _batches(task: Task, settings: Settings, machine: runtime.Runtime, source: Source, start_step: int = 0):
    return training_batches(source, transform=task.train_transform(), columns=task.columns, seed=settings.seed,
                            epochs=settings.epochs, batch_size=settings.batch_size, world=machine.world,
                            rank=machine.rank, start_step=start_step, workers=settings.workers)


def load_pretrained(task: Task, settings: Settings, network: nn.Cell) -> None:
    """Start from `pretrained`: a backbone, or all of the network but classifier layers of another number of classes."""
    report = weights.load_weights(network, settings.pretrained, classifier=task.classifier,
                                  replace_classifier=settings.filter_weight or "mismatched",
                                  expect_missing=task.may_be_missing, expect_unexpected=task.may_be_missing)
    log.info("%s", report.summary() if settings.log_steps == 0 else report)


def build_step(task: Task, settings: Settings, machine: runtime.Runtime, network: nn.Cell, per_epoch: int) -> TrainStep:
    """The training step of a run, ready to be called with batches."""
    level = resolved_level(settings.amp_level, machine.device_target)
    apply_amp(network, level, machine.device_target)
    updates = max(per_epoch * settings.epochs // settings.accumulate_steps, 1)
    milestones = tuple(m * per_epoch // settings.accumulate_steps for m in settings.lr_milestones)
    rates = learning_rates(settings.lr_type, base_lr=settings.base_lr, total_steps=updates,
                           warmup_steps=settings.warmup_steps, warmup_ratio=settings.warmup_ratio,
                           decay_steps=settings.lr_decay_step, decay_rate=settings.lr_decay_rate, milestones=milestones)
    optimizer = momentum_optimizer(network.trainable_params(), rates, momentum=settings.momentum,
                                   weight_decay=settings.weight_decay)
    # Float32 needs no fixed scale: left out, it costs no pass over the gradients.
    factor = settings.loss_scale if level != "O0" or settings.dynamic_loss_scale else 1.0
    scale = LossScale(factor, settings.dynamic_loss_scale, settings.loss_scale_window)
    step = TrainStep(task.training_cell(network), optimizer, loss_scale=scale, clip_norm=settings.clip_norm,
                     accumulate_steps=settings.accumulate_steps, world=machine.world)
    step.rates = rates
    return step.set_train()


def evaluate_split(task: Task, settings: Settings, network: nn.Cell, source) -> dict:
    """Numbers of `network` on a split; its training mode is as before afterwards."""
    was_training = network.training
    network.set_train(False)
    numbers = evaluate(task.predictor(network), source, task.evaluator()).compute()
    network.set_train(was_training)
    return numbers


def replay(task: Task, settings: Settings, machine: runtime.Runtime) -> dict[str, float]:
    """Repeat the step that a non-finite loss stopped at: {loss or result name: value}."""
    path = Path(settings.replay)
    values, metadata = checkpoint.load(path)
    if "replay" not in metadata:
        raise InputError(f"{path}: a checkpoint, but not one that a non-finite loss left")
    what = metadata["replay"]
    source = task.source("train")
    network = task.network()
    step = build_step(task, settings, machine, network,
                      order.steps_per_epoch(len(source), settings.batch_size, machine.world))
    checkpoint.restore(step, values, path)
    batch = augmented_batch(source, what["sample_ids"], what["epoch"], transform=task.train_transform(),
                            seed=settings.seed)
    names = (*task.loss_names, "applied", "finite", "loss_scale", "grad_norm")
    return {n: float(np.max(v.asnumpy())) for n, v in zip(names, step(*map(ms.Tensor, batch)))}


@contextmanager
def _own_folder(path: Path, settings: Settings) -> Iterator[checkpoint.CheckpointFolder]:
    """The run's folder, locked against a second run until this one ends, however it ends."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--output_dir={path}: another run is writing into this folder") from None
        folder = checkpoint.CheckpointFolder(path, settings.model, settings.keep_checkpoint_max)
        if folder.existing() and not settings.resume:
            raise InputError(f"--output_dir={path}: holds checkpoints of an earlier run; go on with --resume or name "
                             "another folder")
        folder.clear_unfinished()
        yield folder


def _position(folder: checkpoint.CheckpointFolder, step_cell: TrainStep, settings: Settings,
              per_epoch: int) -> tuple[Progress, Path | None]:
    progress = Progress(per_epoch, per_epoch * settings.epochs)
    found = folder.newest() if settings.resume else None
    if found is None:
        return progress, None
    path, values, metadata = found
    checkpoint.restore(step_cell, values, path)
    if metadata["steps_per_epoch"] != per_epoch:
        raise InputError(f"{path}: was trained with {metadata['steps_per_epoch']} steps an epoch, the data and batch "
                         f"size now give {per_epoch}; resume with the same data, --batch_size and number of processes")
    log.info("resuming from %s (step %d of %d)", path, metadata["step"], progress.total_steps)
    return Progress(per_epoch, progress.total_steps, metadata["step"]), path


def _callbacks(task: Task, settings: Settings, machine: runtime.Runtime, step_cell: TrainStep, network: nn.Cell,
               folder: checkpoint.CheckpointFolder, progress: Progress, metrics: MetricsLog) -> list:
    def rate() -> float:
        done = int(step_cell.optimizer.global_step.asnumpy()[0])
        return float(step_cell.rates[min(max(done - 1, 0), len(step_cell.rates) - 1)])

    def describe() -> Mapping:
        return {"step": progress.step, "epoch": progress.epoch, "steps_per_epoch": progress.steps_per_epoch,
                "seed": settings.seed, "class_names": list(task.class_names),
                "config": settings.model_dump(mode="json"), **weights.to_metadata("mindseg", settings.conventions())}

    recorder = StepRecorder(progress, loss_names=task.loss_names, learning_rate=rate, metrics=metrics,
                            log_steps=settings.log_steps)
    checkpoints = Checkpoints(folder, step_cell, progress, save_steps=settings.save_steps, describe=describe)
    callbacks = [recorder, StopOnNonFinite(recorder, step_cell, folder.folder, describe), checkpoints]
    if settings.eval_interval:
        source = task.source("val")
        callbacks.append(Evaluation(lambda: evaluate_split(task, settings, network, source), checkpoints, metrics,
                                    metric=task.metric, interval=settings.eval_interval))
    return callbacks


def needed_bytes(task: Task, network: nn.Cell) -> int:
    """Estimated bytes of a training step: weights, gradients, moments and one copy in flight, and activations."""
    weights = sum(p.size for p in network.get_parameters()) * 4
    return 4 * weights + task.activation_bytes()
