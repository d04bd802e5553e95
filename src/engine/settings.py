"""Configuration keys of training, evaluation and export that all models share."""
from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from src.config import Config, Positive, option
from src.contract import Dataset
from src.engine.inference_engine import Choice
from src.metrics.bootstrap_options import MOST_SAMPLES, TEXT, enough_samples


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _is_steps(text: str) -> str:
    """Refuse a text that names no steps to profile."""
    numbers = [int(part) for part in text.split("-")] if re.fullmatch(r"\d+(-\d+)?", text) else []
    if text and (not numbers or numbers[0] < 1 or numbers[0] > numbers[-1]):
        raise ValueError("expected START-STOP, such as 11-20, with 1 <= START <= STOP, or a number of steps, such as "
                         "10")
    return text


Beta = Annotated[float, pydantic.Field(gt=0, lt=1)]
_input = partial(option, group="common", topic="input and augmentation")
# Behaviour of runs and weights that are older than these keys.
BEFORE_THE_KEYS = {"exif": "raw", "bit_depth": 16}


class Settings(Config):
    """Base class of the models' configurations."""

    topics: ClassVar = ("model", "data", "input and augmentation", "network", "weights and resuming", "optimisation",
                        "losses", "matching and sampling", "proposals and detections", "checkpoints and logging",
                        "evaluation", "export", "device and launch")

    model: str = option("deeplab_v3_s16", "name of the model", group="common", topic="model")
    print_config: bool = option(False, "print the resolved configuration as YAML, a preset for --config, and stop",
                                group="common", topic="model", resumable=True)

    batch_size: int = option(32, "images per batch and process", group="common", topic="data", ge=1)
    workers: int = option(2, "threads that decode and augment images", group="common", topic="data", resumable=True,
                          per_host=True, ge=1)
    on_bad: Literal["error", "skip"] = option(
        "error", "bad images and annotations in lists and annotation files: error stops, skip leaves them out and "
                 "lists them",
        group="common", topic="data")

    repeat_factor_threshold: float = option(
        0.0, "classes in a smaller share of the images are rare, and their images appear in an epoch up to "
             "sqrt(threshold / share) times (LVIS); 0.001 suits large data sets; 0: every image appears once",
        topic="data", ge=0, le=1)

    exif: Literal["turn", "raw"] = _input(
        "turn", "photos with an EXIF orientation: turn shows them upright, as labelling tools do; raw leaves the "
                "pixels as they are stored, as weights without this key want it", travels="to inference")
    max_pixels: int = _input(2 ** 28, "larger images are refused before they fill the memory, in pixels; 0: no limit",
                             resumable=True, ge=0)
    bit_depth: int = _input(16, "significant bits of 16-bit images, of which the upper 8 are used; 12 for samples of "
                                "0 to 4095", travels="to inference", ge=8, le=16)
    colour_order: Literal["RGB", "BGR"] = _input("RGB", "order of the network's input channels", travels="always")
    image_mean: tuple[float, float, float] = _input(
        (123.675, 116.28, 103.53), "mean that is subtracted, in colour_order, scale 0 to 255", travels="always")
    image_std: tuple[Positive, Positive, Positive] = _input(
        (58.395, 57.12, 57.375), "standard deviation that is divided by, in colour_order, scale 0 to 255",
        travels="always")

    checkpoint: str = option(
        "", "checkpoint to evaluate or export", group=("eval", "export"), topic="weights and resuming",
        aliases=("ckpt_path", "ckpt_file", "checkpoint_path"), resumable=True, per_host=True)
    pretrained: str = option(
        "", "checkpoint to start from: an ImageNet backbone, an earlier stage of this model, or the other model, "
            "whose backbone is taken", topic="weights and resuming",
        aliases=("ckpt_pre_trained", "pre_trained"), resumable=True, per_host=True)
    start_epoch: int = option(
        0, "epochs done by the run that wrote `pretrained`: above 0, training continues with its optimizer state and "
           "the learning rate of that epoch", topic="weights and resuming", aliases=("pretrain_epoch_size",), ge=0)
    filter_weight: bool = option(False, "leave out the pretrained classifier layers (another number of classes)",
                                 topic="weights and resuming")
    resume: bool = option(False, "continue from the newest complete checkpoint in output_dir",
                          topic="weights and resuming", resumable=True)

    freeze_at: int = option(
        0, "frozen parts of the backbone: 0: none, 1: the stem, 2: and layer1, ... 5: all", topic="network", ge=0, le=5)
    unfreeze_epoch: int = option(0, "epochs after which what freeze_at froze is trained, too; 0: it stays frozen",
                                 topic="network", ge=0)

    epochs: int = option(300, "passes over the training split", topic="optimisation",
                         aliases=("train_epochs", "epoch_size"), ge=1)
    base_lr: float = option(0.015, "learning rate after warm-up", topic="optimisation", gt=0)
    scale_lr: bool = option(False, "multiply base_lr by the number of processes and by accumulate_steps",
                            topic="optimisation")
    lr_type: Literal["cos", "poly", "exp", "step"] = option("cos", "decay of the learning rate", topic="optimisation")
    lr_epochs: int = option(0, "epochs from the end of warm-up to a learning rate of 0; 0: to the end of the run",
                            topic="optimisation", aliases=("total_epoch",), ge=0)
    lr_decay_step: int = option(40000, "lr_type=exp: updates between two decays", topic="optimisation", ge=1)
    lr_decay_rate: float = option(0.1, "lr_type=exp and step: factor of a decay", topic="optimisation", gt=0)
    lr_milestones: tuple[pydantic.NonNegativeInt, ...] = option(
        (), "lr_type=step: epochs at which the learning rate decays", topic="optimisation")
    warmup_steps: int = option(0, "updates of linear warm-up", topic="optimisation", aliases=("warmup_step",), ge=0)
    warmup_ratio: float = option(1 / 3, "learning rate at the start of warm-up, as a fraction of base_lr",
                                 topic="optimisation", ge=0, le=1)
    optimizer: Literal["momentum", "adamw"] = option(
        "momentum", "momentum: SGD with momentum; adamw: Adam with decoupled weight decay, which needs a base_lr of "
                    "1e-4 to 1e-3", topic="optimisation")
    momentum: float = option(0.9, "optimizer=momentum: fraction of the last step that is added", topic="optimisation",
                             ge=0, lt=1)
    adam_betas: tuple[Beta, Beta] = option(
        (0.9, 0.999), "optimizer=adamw: decay of the means of the gradients and of their squares",
        topic="optimisation")
    adam_eps: float = option(1e-8, "optimizer=adamw: added to the root of the mean square", topic="optimisation", gt=0)
    weight_decay: float = option(1e-4, "weight decay; the scales and shifts of normalisation layers have none",
                                 topic="optimisation", ge=0)
    bias_decay: bool = option(True, "whether biases have weight decay", topic="optimisation")
    layer_decay: float = option(
        1.0, "learning rate of a stage of the backbone as a fraction of that of the next; 1: all learn alike",
        topic="optimisation", gt=0, le=1)
    accumulate_steps: int = option(1, "batches whose gradients are averaged into one update", topic="optimisation",
                                   ge=1)
    clip_norm: float = option(0.0, "largest global norm of the gradients; 0: no limit", topic="optimisation", ge=0)
    ema_decay: float = option(
        0.0, "decay of a moving average of the weights, which is evaluated and saved as the result; 0: none",
        topic="optimisation", ge=0, lt=1)
    loss_scale: float = option(
        3072.0, "factor of the loss in the backward pass; a fixed one is not applied in float32", topic="optimisation",
        gt=0)
    dynamic_loss_scale: bool = option(
        False, "halve loss_scale on overflow and skip that update; double it after loss_scale_window steps without one",
        topic="optimisation")
    loss_scale_window: int = option(1000, "steps without overflow before a dynamic loss_scale is doubled",
                                    topic="optimisation", ge=1)
    overflow_check: Literal["auto", "finite", "status"] = option(
        "auto", "how overflow is found: finite: Inf or NaN in the gradients; status: the device's overflow register; "
                "auto: status on Ascend devices that saturate (910, or SATURATION_MODE), else finite",
        topic="optimisation", resumable=True)
    amp_level: Literal["auto", "O0", "O2", "O3"] = option(
        "auto", "O0: float32; O2: float16 except in normalisation layers; O3: float16; auto: O0 on a CPU; on Ascend O3 "
                "in training, and in evaluation what the checkpoint was trained with", group=("train", "eval"),
        topic="optimisation")

    output_dir: str = option("./checkpoint", "folder of checkpoints and logs", topic="checkpoints and logging",
                             aliases=("train_dir", "save_checkpoint_path"), resumable=True, per_host=True)
    save_steps: int = option(3000, "steps between two checkpoints; the last step is always saved",
                             topic="checkpoints and logging", resumable=True, ge=1)
    keep_checkpoint_max: int = option(200, "number of newest checkpoints that are kept",
                                      topic="checkpoints and logging", resumable=True, ge=1)
    log_steps: int = option(0, "steps between two log lines; 0: one line an epoch", topic="checkpoints and logging",
                            resumable=True, per_host=True, ge=0)
    log_grad_norms: bool = option(
        False, "log the norms of the gradients of each stage of the backbone and each part behind it",
        topic="checkpoints and logging", resumable=True)
    profile: Annotated[str, pydantic.AfterValidator(_is_steps)] = option(
        "", "steps to profile, START-STOP, or how many, after the first two of the process; a page about them is in "
            "profile/ of output_dir", topic="checkpoints and logging", resumable=True, per_host=True)
    replay: str = option("", "repeat the step that a non-finite loss stopped at, from the file that it left behind",
                         topic="checkpoints and logging", resumable=True, per_host=True)

    eval_interval: int = option(0, "epochs between two evaluations on the val split; 0: none", topic="evaluation",
                                resumable=True, ge=0)
    early_stop_patience: int = option(
        0, "end the run after this many evaluations in a row that did not raise the metric (mIoU, AP); 0: never",
        topic="evaluation", resumable=True, ge=0)
    preview_interval: int = option(
        0, "epochs between two pictures of what the network predicts on images of the val split, in preview.jpg of "
           "output_dir; 0: none", topic="evaluation", resumable=True, ge=0)
    inference_engine: Choice = option(
        "mindspore", "what runs the network in evaluation: mindspore; openvino, about twice as fast on a CPU; auto: "
        "OpenVINO on a CPU where it is installed and takes the network, else MindSpore", group=("train", "eval"),
        topic="evaluation", resumable=True, per_host=True)
    bootstrap: Annotated[int, pydantic.AfterValidator(enough_samples)] = option(
        1000, TEXT, group="eval", topic="evaluation", resumable=True, ge=0, le=MOST_SAMPLES)
    result_path: str = option("./eval_result.json", "JSON file for the results of the evaluation", group="eval",
                              topic="evaluation", resumable=True, per_host=True)

    file_name: str = option("", "path of the exported files without suffix; by default the checkpoint's name, in the "
                                "current folder", group="export", topic="export")
    file_format: tuple[Annotated[Literal["MINDIR", "AIR", "ONNX"], pydantic.BeforeValidator(_upper)], ...] = option(
        ("MINDIR",), "MINDIR, ONNX or AIR (deprecated); repeat the flag for several", group="export", topic="export",
        min_length=1)
    export_batch_size: int = option(0, "images per batch of the exported model; 0: batch_size where it is given, "
                                       "else 1", group="export", topic="export", ge=0)
    precision: Literal["float32", "float16"] = option(
        "float32", "type of the scores and masks that the exported model returns", group="export", topic="export",
        aliases=("output_precision",))
    sample_images: str = option("", "image or folder of images to check the exported files on; by default some of the "
                                    "practice set", group="export", topic="export")

    device_target: Literal["Ascend", "CPU", "GPU"] = option("Ascend", "device to run on", group="common",
                                                            topic="device and launch")
    device_id: int = option(0, "number of the device on this host; DEVICE_ID in the environment wins", group="common",
                            topic="device and launch", resumable=True, per_host=True, ge=0)
    jit_level: Literal["auto", "O0", "O1", "O2"] = option(
        "auto", "how graphs are compiled on Ascend: O0 kernel by kernel, O1 with fused operators, O2 the deprecated "
        "graph engine; auto: O2 on 910, which has nothing else, O0 elsewhere", group="common",
        topic="device and launch", resumable=True)
    seed: int = option(1, "seed of initial weights, sample order, augmentation and dropout", group="common",
                       topic="device and launch", ge=0, le=2 ** 32 - 1)
    noise: int = option(2, "version of the hash behind dropout and sampling; 1, slow on Ascend, is for runs that began "
                           "with it", topic="device and launch", ge=1, le=2)
    is_distributed: bool = option(False, "this process is one of several ranks, started by a launcher",
                                  topic="device and launch", aliases=("run_distribute",), resumable=True)
    deterministic: bool = option(
        True, "operators and collectives of Ascend devices give the same bits in every run, so that a resumed run ends "
              "like one without interruption; costs some speed there", group="common", topic="device and launch",
        resumable=True)
    compile_cache: str = option(
        "", "folder of compiled graphs for the next start, each checked before it is used; auto: "
            "~/.cache/mindseg/compiled", group=("train", "eval"), topic="device and launch", resumable=True,
        per_host=True)
    sink_size: int = option(100, "steps that an Ascend device runs without returning to the host",
                            topic="device and launch", resumable=True, ge=1)

    @classmethod
    def resumable_keys(cls) -> tuple[str, ...]:
        """Keys that a resumed run may change."""
        return tuple(cls.keys(lambda key: key.resumable))

    def evaluation(self) -> dict[str, Any]:
        """The keys that may change the numbers of an evaluation: flags of eval.py that differ between runs alone."""
        paths = set(self.keys(lambda key: key.per_host))
        used = self.keys(lambda key: set(key.group) & {"common", "eval"} or key.travels)
        return self.model_dump(mode="json", include=set(used) - paths - {"print_config", "bootstrap"})

    def shaping(self) -> dict[str, Any]:
        """The keys that may shape a graph: all but those that differ between the ranks or the starts of a run."""
        return {name: value for name, value in self.common().items() if name not in ("resume", "print_config")}

    @property
    def exported_batch(self) -> int:
        """Images per batch of the exported model."""
        return self.export_batch_size or (self.batch_size if "batch_size" in self.model_fields_set else 1)

    def unfreeze_step(self, per_epoch: int) -> int:
        """Batches after which nothing is frozen, at the end of an accumulation; 0: never."""
        return -(-self.unfreeze_epoch * per_epoch // self.accumulate_steps) * self.accumulate_steps

    def steps_between_checkpoints(self, per_epoch: int) -> int:
        """Batches between two checkpoints where an epoch has `per_epoch` batches."""
        return self.save_steps

    def check_data(self, split: str) -> None:
        """Check that the data of "train" or "val" exists, without MindSpore and without reading all of it.

        Raises:
            InputError: nothing is given, or files are missing.
        """

    def list_split(self, split: str) -> Dataset:
        """The records of "train" or "val" as files and lists name them; no image is read, and bad entries are left out.

        Raises:
            InputError: nothing is given, or nothing usable is left.
        """
        raise NotImplementedError

    def completed(self) -> Settings:
        """This configuration with the keys filled in that follow from its data and weights."""
        return self

    @pydantic.model_validator(mode="after")
    def _decays_to_the_end(self) -> Settings:
        if 0 < self.lr_epochs < self.epochs:
            raise ValueError(f"total_epoch={self.lr_epochs} is below epoch_size={self.epochs}: the learning rate would "
                             f"reach 0 before the run ends; give --total_epoch={self.epochs} or 0")
        return self

    @pydantic.model_validator(mode="after")
    def _fits_the_optimizer(self) -> Settings:
        if self.optimizer == "adamw" and "base_lr" not in self.model_fields_set:
            raise ValueError(f"optimizer=adamw: base_lr={self.base_lr:g}, the default, is of momentum; AdamW moves "
                             "each weight by about base_lr in an update. Give --base_lr=0.0001, for example")
        for name in ("adam_betas", "adam_eps"):
            if self.optimizer != "adamw" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}={getattr(self, name)} has no effect without optimizer=adamw; give "
                                 "--optimizer=adamw too, or leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _unfreezes_something(self) -> Settings:
        if self.unfreeze_epoch and not self.freeze_at:
            raise ValueError(f"unfreeze_epoch={self.unfreeze_epoch}: nothing is frozen (freeze_at=0); give --freeze_at="
                             "2, for example, or leave it out")
        if self.unfreeze_epoch >= self.epochs and self.unfreeze_epoch:
            raise ValueError(f"unfreeze_epoch={self.unfreeze_epoch}: the run has {self.epochs} epochs, so nothing "
                             f"would be unfrozen; give at most {self.epochs - 1}, more --epochs, or leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _evaluates_to_stop_early(self) -> Settings:
        if self.early_stop_patience and not self.eval_interval:
            raise ValueError(f"early_stop_patience={self.early_stop_patience} counts evaluations during training, of "
                             "which there are none; give --eval_interval=1 too, or leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _milestones_rise(self) -> Settings:
        if any(a >= b for a, b in zip(self.lr_milestones, self.lr_milestones[1:])):
            raise ValueError(f"lr_milestones={','.join(map(str, self.lr_milestones))}: expected increasing epochs")
        if self.lr_type == "step" and not self.lr_milestones:
            raise ValueError("lr_type=step decays at lr_milestones, which are missing; give --lr_milestones=EPOCH,...")
        return self
