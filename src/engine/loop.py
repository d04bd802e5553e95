"""A training run: network, optimizer, data and callbacks assembled around `mindspore.train.Model`."""
from __future__ import annotations

import fcntl
import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import mindspore as ms
import mindspore.nn as nn
from mindspore.train import Model

from src.compile_cache import cache as compile_cache
from src.contract import Dataset, Evaluator, InputError, Instances, LabelMap, Record, Task
from src.data import order
from src.data.pipeline import augmented_batch, training_batches
from src.data.repeats import repeats_of
from src.engine import checkpoint, runtime, start
from src.engine.build import build_step
from src.engine.callbacks import Checkpoints, Evaluation, RestartClock, StopOnNonFinite, Stopped
from src.engine.compile_notice import CompileNotice
from src.engine.evaluate import evaluate
from src.engine.first_step import CachedFirstStep, StoreGraph
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position, sink_chunks
from src.engine.precision import resolved_level
from src.engine.preview import Preview
from src.engine.profile import Profile, steps_to_profile
from src.engine.profile import title as profile_title
from src.engine.run_folder import check_free
from src.engine.settings import Settings
from src.engine.step_recorder import StepRecorder, numbers_of
from src.engine.train_step import TrainStep
from src.layers.freezing import freeze
from src.weights import load as weights
from src.wording import some

log = logging.getLogger(__name__)
_compiled_for_evaluation: WeakSet[nn.Cell] = WeakSet()
FITTING = ("The network has to be the one that the weights are of: leave out flags and preset keys that shape it, such "
           "as --backbone and --norm. Only the classifier may differ: --num_classes and --filter_weight replace it")


def train(task: Task, settings: Settings, machine: runtime.Runtime) -> Path:
    """Train and return the last checkpoint.

    Raises:
        InputError: data, checkpoint, memory or settings that cannot work, and a loss that is not finite.
    """
    dataset = task.dataset("train")
    _batches(task, settings, machine, dataset)  # refuses too few samples before anything is built
    with _own_folder(Path(settings.output_dir), settings, machine) as folder:
        return _train(task, settings, machine, dataset, folder)


def _train(task: Task, settings: Settings, machine: runtime.Runtime, dataset: Dataset,
           folder: checkpoint.CheckpointFolder) -> Path:
    if machine.device_target == "Ascend":
        runtime.refuse_missing_gradients(getattr(settings, "norm", ""), runtime.chip_name())
    if settings.noise > 1:
        machine.check_noise()
    network = task.network()
    if settings.pretrained and not settings.start_epoch:
        load_pretrained(task, settings, network)
    per_epoch = order.steps_per_epoch(len(dataset), settings.batch_size, machine.world_size)
    found = start.find(folder, settings)
    thaw(settings, network, per_epoch, start.steps_before(found, settings, per_epoch))
    step_cell = build_step(task, settings, machine, network, per_epoch)
    machines = machine.gather(runtime.machine_of_rank())
    position, last = start.start_position(found, step_cell, settings, len(dataset), per_epoch, machines)
    machine.agree(settings.common() | {"samples": len(dataset), "step to start from": position.step})
    to_profile = steps_to_profile(settings.profile, position) if settings.profile else range(0)
    runtime.check_memory(needed_bytes(task, settings, network), settings.device_target, task.memory_flags())
    if machine.rank == 0:
        (folder.folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    metrics = MetricsLog(folder.folder / f"rank_{machine.rank}" if machine.rank else folder.folder, position.step,
                         rank=machine.rank)
    run = _Run(task, settings, machine, machines, dataset, network, step_cell, position, metrics, to_profile)
    checkpoints = run.checkpoints(folder)
    for evaluation in run.evaluations(checkpoints):
        evaluation.catch_up()
    if position.finished:
        log.info("the run in %s is finished: %s", folder.folder, last)
        metrics.close()
        return last
    log.info("training %s on %d images: %d epochs of %d steps, %.1f million parameters", settings.model, len(dataset),
             settings.epochs, per_epoch, sum(p.size for p in network.get_parameters()) / 1e6)
    with checkpoints.heeding_signals():
        while not (position.finished or checkpoints.stopped):
            _run_steps(run, checkpoints)
    metrics.close()
    if not position.finished:
        raise Stopped(checkpoints.signal or signal.SIGTERM, checkpoints.saved)
    return checkpoints.saved


def thaw(settings: Settings, network: nn.Cell, per_epoch: int, done: int) -> bool:
    """Unfreeze the network once more batches are `done` than `unfreeze_epoch` has; return whether anything changed."""
    step = settings.unfreeze_step(per_epoch)
    frozen = len(network.trainable_params())
    if step and done > step:
        freeze(network, 0)
    return len(network.trainable_params()) > frozen


def _run_steps(run: _Run, checkpoints: Checkpoints) -> None:
    """Run the steps up to a change of the graph or the end with `Model`; on a device, in chunks without the host.

    `Model.train` takes chunks of one size, so a shorter last one needs its own call. Each call has its own data queue,
    which is part of the graph, so the graph is compiled again for it.
    """
    task, settings, machine, position = run.task, run.settings, run.machine, run.position
    end = settings.unfreeze_step(position.steps_per_epoch)
    if end <= position.step:
        run.unfreeze(checkpoints)
        end = position.total_steps
    steps = end - position.step
    chunks = sink_chunks(steps, settings.sink_size, settings.accumulate_steps) if machine.data_sink else [(1, steps)]
    with run.notice() as notice:
        callbacks = run.callbacks(checkpoints, notice)
        for count, size in chunks:
            if not (checkpoints.stopped or position.finished):
                batches = _batches(task, settings, machine, run.dataset, position.step).take(count * size)
                Model(run.step_cell).train(count, batches, callbacks=callbacks, dataset_sink_mode=machine.data_sink,
                                           sink_size=size)


def _batches(task: Task, settings: Settings, machine: runtime.Runtime, dataset: Dataset, start_step: int = 0):
    return training_batches(dataset, augmentation=task.train_augmentation(), columns=task.columns, seed=settings.seed,
                            epochs=settings.epochs, batch_size=settings.batch_size, world_size=machine.world_size,
                            rank=machine.rank, start_step=start_step, workers=settings.workers)


def load_pretrained(task: Task, settings: Settings, network: nn.Cell) -> None:
    """Start from `pretrained`: a backbone, or the network without classifiers of other classes."""
    report = weights.load_weights(network, settings.pretrained, classifier=task.classifier,
                                  replace_classifier=settings.filter_weight or "mismatched",
                                  expect_missing=task.may_be_missing, expect_unexpected=task.may_be_missing,
                                  remedy=FITTING)
    log.info("%s", report.summary())
    for what, names in (("not in the file", report.missing), ("not in the network", report.left_over)):
        if names:
            log.info("%s: %s", what, some(names))


def evaluate_split(task: Task, network: nn.Cell, dataset: Dataset, machine: runtime.Runtime) -> Evaluator:
    """Evaluate `network` on a split and return the evaluator. The network's training mode is restored.

    The split is divided among the ranks. Rank 0 returns an evaluator of the whole split, other ranks of their share.
    """
    notice = None if network in _compiled_for_evaluation else CompileNotice(
        "the evaluation graph", f"evaluating {type(network).__name__} {machine.device_target}",
        remembers=machine.rank == 0)
    with _as_it_predicts(network):
        evaluator = evaluate(task.predictor(network), dataset, task.evaluator(), world_size=machine.world_size,
                             rank=machine.rank, compile_notice=notice)
    _compiled_for_evaluation.add(network)
    if machine.world_size > 1:
        evaluator, *others = machine.gather_on_first(evaluator) or [evaluator]
        for other in others:
            evaluator.merge(other)
    return evaluator


@contextmanager
def _as_it_predicts(network: nn.Cell) -> Iterator[None]:
    """Within this context, the network is in inference mode."""
    was_training = network.training
    network.set_train(False)
    try:
        yield
    finally:
        network.set_train(was_training)


def predict_some(task: Task, network: nn.Cell, records: Sequence[Record]) -> list[LabelMap | Instances]:
    """Predictions of a few records by the network in training, whose mode is restored."""
    with _as_it_predicts(network):
        return list(task.predictor(network)(records))


def replay(task: Task, settings: Settings, machine: runtime.Runtime) -> dict[str, float]:
    """Repeat the step at which a loss was not finite; return {loss or result name: value}."""
    path = Path(settings.replay)
    values, metadata = checkpoint.load(path)
    if "replay" not in metadata:
        raise InputError(f"{path}: a checkpoint, but not one that a non-finite loss left")
    what = metadata["replay"]
    dataset = task.dataset("train")
    network = task.network()
    per_epoch = order.steps_per_epoch(len(dataset), settings.batch_size, machine.world_size)
    thaw(settings, network, per_epoch, what["step"])
    step = build_step(task, settings, machine, network, per_epoch)
    checkpoint.restore(step, values, path)
    batch = augmented_batch(dataset, what["sample_ids"], what["epoch"], augmentation=task.train_augmentation(),
                            seed=settings.seed)
    names = (*task.loss_names, *step.result_names)
    return dict(zip(names, numbers_of(step(*map(ms.Tensor, batch))), strict=True))


@contextmanager
def _own_folder(path: Path, settings: Settings,
                machine: runtime.Runtime) -> Iterator[checkpoint.CheckpointFolder]:
    """The run's folder; rank 0 locks it against a second run until this one ends, however it ends."""
    path.mkdir(parents=True, exist_ok=True)
    if machine.rank:
        yield checkpoint.CheckpointFolder(path, settings.model, settings.keep_checkpoint_max)
        return
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--output_dir={path}: another run is writing into this folder") from None
        folder = checkpoint.CheckpointFolder(path, settings.model, settings.keep_checkpoint_max)
        check_free(path, settings.model, resume=settings.resume)
        folder.clear_unfinished()
        yield folder


@dataclass
class _Run:
    """The parts of a run in progress, and the values that the callbacks need."""

    task: Task
    settings: Settings
    machine: runtime.Runtime
    machines: list[dict]
    dataset: Dataset
    network: nn.Cell
    step_cell: TrainStep
    position: Position
    metrics: MetricsLog
    to_profile: range

    def describe(self) -> dict:
        """Metadata for a checkpoint written now."""
        settings, position = self.settings, self.position
        level = resolved_level(settings.amp_level, self.machine.device_target)
        conventions = settings.conventions() | {"amp_level": level}
        return {"step": position.step, "previous_step": position.previous, "epoch": position.epoch,
                "scores": position.scores, "steps_per_epoch": position.steps_per_epoch,
                "samples": len(self.dataset), "seed": settings.seed, "class_names": list(self.task.class_names),
                "machines": self.machines, "config": settings.model_dump(mode="json"),
                **weights.to_metadata("mindseg", conventions)}

    def learning_rate(self) -> float:
        """Of the last update."""
        rates, updates = self.step_cell.rates, int(self.step_cell.optimizer.global_step.asnumpy()[0])
        return float(rates[min(max(updates - 1, 0), len(rates) - 1)])

    def skipped_on_device(self) -> int:
        """Steps that were not finite since this process started, where the device counts them."""
        return 0 if self.step_cell.skipped is None else int(self.step_cell.skipped.asnumpy())

    def sample_ids(self) -> list[int]:
        """Of the batch of the last step."""
        ids = order.rank_order(len(self.dataset), seed=self.settings.seed, epoch=self.position.epoch - 1,
                               batch_size=self.settings.batch_size, world_size=self.machine.world_size,
                               rank=self.machine.rank, repeats=repeats_of(self.dataset))
        last = self.position.step_in_epoch * self.settings.batch_size
        return ids[last - self.settings.batch_size:last].tolist()

    def unfreeze(self, checkpoints: Checkpoints) -> None:
        """Train everything from here on, by another graph that takes over the state of the present one."""
        if not thaw(self.settings, self.network, self.position.steps_per_epoch, self.position.step + 1):
            return
        state = checkpoint.saved(self.step_cell)
        self.step_cell = build_step(self.task, self.settings, self.machine, self.network, self.position.steps_per_epoch)
        for name, parameter in checkpoint.saved(self.step_cell).items():
            if name in state:  # else it is optimizer state of what was frozen
                parameter.set_data(ms.Tensor(state[name].asnumpy(), parameter.dtype))
        checkpoints.cell = self.step_cell
        self.position.new_graph()
        log.info("after step %d (epoch %d): all stages of the backbone are trained", self.position.step,
                 self.position.epochs_done)

    def notice(self) -> CompileNotice:
        settings, machine = self.settings, self.machine
        return CompileNotice("the training graph", f"training {settings.model} {machine.device_target} "
                             f"{machine.world_size}x{settings.batch_size}", remembers=machine.rank == 0)

    def checkpoints(self, folder: checkpoint.CheckpointFolder) -> Checkpoints:
        return Checkpoints(folder, self.step_cell, self.position, describe=self.describe, machine=self.machine,
                           save_steps=self.settings.steps_between_checkpoints(self.position.steps_per_epoch))

    @property
    def result(self) -> nn.Cell:
        """What is evaluated and predicts: the averaged network, if there is one."""
        return self.network if self.step_cell.average is None else self.step_cell.average.network

    def evaluations(self, checkpoints: Checkpoints) -> list[Evaluation]:
        task, settings, machine, network = self.task, self.settings, self.machine, self.result
        if not settings.eval_interval:
            return []
        dataset = task.dataset("val")
        return [Evaluation(lambda: machine.run_on_first(evaluate_split(task, network, dataset, machine).compute),
                           checkpoints, self.metrics, metric=task.metric, interval=settings.eval_interval,
                           patience=settings.early_stop_patience)]

    def profiles(self, recorder: StepRecorder, folder: checkpoint.CheckpointFolder) -> list[Profile]:
        """On rank 0, where steps to profile are left."""
        settings, machine = self.settings, self.machine
        if machine.rank or not self.to_profile:
            return []
        return [Profile(recorder, self.to_profile, chunk=settings.sink_size if machine.data_sink else 1,
                        folder=folder.folder / "profile", device_target=machine.device_target,
                        title=profile_title(settings.model, machine.device_target, settings.batch_size))]

    def callbacks(self, checkpoints: Checkpoints, notice: CompileNotice) -> list:
        """The callbacks of the present graph."""
        task, settings, metrics, network = self.task, self.settings, self.metrics, self.result
        recorder = StepRecorder(self.position, loss_names=task.loss_names, learning_rate=self.learning_rate,
                                result_names=self.step_cell.result_names, metrics=metrics, log_steps=settings.log_steps,
                                compile_notice=notice, skipped_on_device=self.skipped_on_device)
        stop = StopOnNonFinite(recorder, self.step_cell, metrics.path.parent, describe=self.describe,
                               sample_ids=self.sample_ids)
        callbacks = [recorder, *self.profiles(recorder, checkpoints.folder), stop, checkpoints,
                     *self.evaluations(checkpoints)]
        if settings.preview_interval and not self.machine.rank:
            callbacks.append(Preview(task, lambda records: predict_some(task, network, records), self.position,
                                     checkpoints.folder.folder / "preview.jpg",
                                     interval=settings.preview_interval))
        cache = compile_cache.active()
        if cache and (obstacle := obstacle_to_caching(self.machine)):
            log.info("the training graph is not cached, since %s; evaluation's is", obstacle)
        elif cache:
            first = CachedFirstStep(self.step_cell, cache)
            callbacks = [first, *callbacks, StoreGraph(first)]
        return [*callbacks, RestartClock(recorder)]


def obstacle_to_caching(machine: runtime.Runtime) -> str:
    """Why the compile cache cannot take the training graph; empty if it can."""
    if machine.data_sink:
        return "it draws its batches from the device's queue, so that nothing can be compared"
    if machine.world_size > 1:  # seen once: one rank reduced 3 numbers in the call in which another reduced 128
        return "a loaded graph may exchange gradients in another order than other ranks do"
    return ""


def needed_bytes(task: Task, settings: Settings, network: nn.Cell) -> int:
    """Estimated bytes of a training step: activations, and weights with gradients, moments, averages and one copy."""
    weights = sum(p.size for p in network.get_parameters()) * 4
    return (4 + bool(settings.ema_decay) + (settings.optimizer == "adamw")) * weights + task.activation_bytes()
