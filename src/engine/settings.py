"""The configuration keys of training, evaluation and export that do not depend on the model."""
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from src.config import Config, option


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class Settings(Config):
    """Keys shared by all models."""

    # Keys that a resumed run may have otherwise than before: where things lie, what is logged, saved and evaluated.
    free_to_change: ClassVar = (
        "device_id", "workers", "checkpoint", "result_path", "output_dir", "pretrained", "resume", "save_steps",
        "keep_checkpoint_max", "eval_interval", "log_steps", "sink_size", "replay", "print_config", "is_distributed",
        "data_file",
        "data_root", "data_lst", "val_data_file", "val_data_lst", "eval_crop_size", "scales", "flip", "class_names")

    model: str = option("deeplab_v3_s16", "name of the model", group="common")
    device_target: Literal["Ascend", "CPU", "GPU"] = option("Ascend", "device to run on", group="common")
    device_id: int = option(0, "device of this process; the environment's DEVICE_ID wins", group="common", ge=0)
    seed: int = option(1, "seed of initial weights, order, augmentation and noise", group="common", ge=0,
                       le=2 ** 32 - 1)
    noise: int = option(2, "version of the hash behind dropout and sampling; 1, slow on Ascend, is for runs that began "
                           "with it", ge=1, le=2)
    batch_size: int = option(32, "images per batch and process", group="common", ge=1)
    workers: int = option(2, "threads that decode and augment", group="common", ge=1)
    on_bad: Literal["error", "skip"] = option("error", "bad images of lists and annotation files: error stops, skip "
                                              "leaves them out and lists them", group="common")
    checkpoint: str = option("", "checkpoint to evaluate, export or predict with", group=("eval", "export"),
                             aliases=("ckpt_path", "ckpt_file", "checkpoint_path"))
    result_path: str = option("./eval_result.json", "file that eval.py writes its numbers to", group="eval")

    output_dir: str = option("./checkpoint", "folder of checkpoints and logs",
                             aliases=("train_dir", "save_checkpoint_path"))
    epochs: int = option(300, "passes over the training split", aliases=("train_epochs", "epoch_size"), ge=1)
    pretrained: str = option("", "checkpoint to start from: an ImageNet backbone or an earlier stage of this model",
                             aliases=("ckpt_pre_trained", "pre_trained"))
    start_epoch: int = option(0, "epochs that the run behind `pretrained` has done: above 0 goes on with its optimizer "
                                 "and the learning rate of that epoch", aliases=("pretrain_epoch_size",), ge=0)
    filter_weight: bool = option(False, "leave out the pretrained classifier layers (another number of classes)")
    resume: bool = option(False, "go on from the newest complete checkpoint in output_dir")
    is_distributed: bool = option(False, "this process is one of several ranks", aliases=("run_distribute",))

    base_lr: float = option(0.015, "learning rate at the start, after warm-up", gt=0)
    scale_lr: bool = option(False, "multiply base_lr by the number of processes and of accumulated batches")
    lr_type: Literal["cos", "poly", "exp", "step"] = option("cos", "decay of the learning rate")
    lr_epochs: int = option(0, "epochs from the end of warm-up to learning rate 0; 0: until the run ends",
                            aliases=("total_epoch",), ge=0)
    lr_decay_step: int = option(40000, "updates between two decays of exp", ge=1)
    lr_decay_rate: float = option(0.1, "factor of a decay of exp and step", gt=0)
    lr_milestones: tuple[pydantic.NonNegativeInt, ...] = option((), "epochs at which step decays")
    warmup_steps: int = option(0, "updates of linear warm-up", aliases=("warmup_step",), ge=0)
    warmup_ratio: float = option(1 / 3, "share of base_lr at the start of warm-up", ge=0, le=1)
    momentum: float = option(0.9, "of the Momentum optimizer", ge=0, lt=1)
    weight_decay: float = option(1e-4, "on all weights but normalisation's scale and shift", ge=0)
    accumulate_steps: int = option(1, "batches whose gradients are averaged for one update", ge=1)
    clip_norm: float = option(0.0, "largest global norm of the gradients, 0 for no limit", ge=0)
    loss_scale: float = option(3072.0, "factor on the loss in the backward pass; a fixed one is left out in float32",
                               gt=0)
    dynamic_loss_scale: bool = option(False, "halve loss_scale on overflow and skip the step, double it now and then")
    loss_scale_window: int = option(1000, "good steps before a dynamic loss_scale is doubled", ge=1)
    amp_level: Literal["auto", "O0", "O2", "O3"] = option("auto", "float16 use: O3 on Ascend and O0 on CPU by default")

    save_steps: int = option(3000, "steps between two checkpoints; the last step is always saved", ge=1)
    keep_checkpoint_max: int = option(200, "newest checkpoints that are kept", ge=1)
    eval_interval: int = option(0, "epochs between two evaluations on the val split, 0 for none", ge=0)
    log_steps: int = option(0, "steps between two log lines, 0 for one an epoch", ge=0)
    sink_size: int = option(100, "steps that run on an Ascend device without the host in between", ge=1)
    replay: str = option("", "repeat the step that a non-finite loss stopped at, from the file that it left")
    print_config: bool = option(False, "print the resolved configuration and stop", group="common")

    file_name: str = option("", "path of the exported files without suffix; by default the checkpoint's name in the "
                                "working folder", group="export")
    file_format: tuple[Annotated[Literal["MINDIR", "AIR", "ONNX"], pydantic.BeforeValidator(_upper)], ...] = option(
        ("MINDIR",), "MINDIR, AIR or ONNX; repeat the flag for several", group="export", min_length=1)
    export_batch_size: int = option(0, "images per batch of the exported model; 0: batch_size where it is given, "
                                       "else 1", group="export", ge=0)
    precision: Literal["float32", "float16"] = option(
        "float32", "of the scores and masks that the exported model returns", group="export",
        aliases=("output_precision",))
    sample_images: str = option("", "image or folder of images that exported files are checked with; by default some "
                                    "of the practice set", group="export")

    @property
    def exported_batch(self) -> int:
        """Images per batch of the exported model."""
        return self.export_batch_size or (self.batch_size if "batch_size" in self.model_fields_set else 1)

    def steps_between_checkpoints(self, per_epoch: int) -> int:
        """Batches between two checkpoints, for epochs of `per_epoch` batches."""
        return self.save_steps

    def completed(self) -> Settings:
        """This configuration with what follows from its data and weights in place of what was left open."""
        return self

    @pydantic.model_validator(mode="after")
    def _decays_to_the_end(self) -> Settings:
        if 0 < self.lr_epochs < self.epochs:
            raise ValueError(f"total_epoch={self.lr_epochs} is below epoch_size={self.epochs}: the learning rate would "
                             f"be 0 before the run ends; give --total_epoch={self.epochs} or 0")
        return self

    @pydantic.model_validator(mode="after")
    def _milestones_rise(self) -> Settings:
        if any(a >= b for a, b in zip(self.lr_milestones, self.lr_milestones[1:])):
            raise ValueError(f"lr_milestones={','.join(map(str, self.lr_milestones))}: expected epochs in rising order")
        if self.lr_type == "step" and not self.lr_milestones:
            raise ValueError("lr_type=step decays at lr_milestones, which are not given: --lr_milestones=EPOCH,...")
        return self
