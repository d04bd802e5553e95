"""The starting point of a run: step 0, the newest checkpoint in its folder, or another run's last epoch."""
from __future__ import annotations

import logging
from pathlib import Path

import mindspore as ms

from src.config import as_flag
from src.contract import InputError
from src.engine import checkpoint
from src.engine.position import Position
from src.engine.settings import BEFORE_THE_KEYS, Settings
from src.engine.train_step import TrainStep

OLDEST = BEFORE_THE_KEYS | {"noise": 1}  # of runs that are older than these keys
log = logging.getLogger(__name__)


Found = tuple[Path, dict[str, ms.Parameter], dict]  # a checkpoint: its path, values and metadata


def find(folder: checkpoint.CheckpointFolder, settings: Settings) -> Found | None:
    """The checkpoint that a run resumes from, if it does."""
    found = folder.newest() if settings.resume else None
    if settings.resume and not found:
        log.info("--resume: %s has no checkpoint yet, starting from the beginning", folder.folder)
    return found


def steps_before(found: Found | None, settings: Settings, per_epoch: int) -> int:
    """Batches that were done before the state that a run starts from."""
    return found[2]["step"] if found else settings.start_epoch * per_epoch


def start_position(found: Found | None, step_cell: TrainStep, settings: Settings, samples: int, per_epoch: int,
                   machines: list[dict]) -> tuple[Position, Path | None]:
    """Load the state that a run starts from into `step_cell`; return (position, resumed checkpoint or None).

    Args:
        found: see `find`.
        samples: number of samples in the training data.
        per_epoch: steps in an epoch.
        machines: `runtime.machine_of_rank` of every rank.

    Raises:
        InputError: data or settings differ from the checkpoint's, or the run is too short for a single update.
    """
    position = Position(per_epoch, per_epoch * settings.epochs)
    if position.total_steps < settings.accumulate_steps:
        raise InputError(f"--accumulate_steps={settings.accumulate_steps}: the run has {position.total_steps} steps in "
                         f"all, so that no weight would ever change; give at most {position.total_steps}, or more "
                         "--epochs")
    if found is None:
        return (_after_epochs(settings, step_cell, per_epoch) if settings.start_epoch else position), None
    path, values, metadata = found
    before = metadata["steps_per_epoch"], metadata.get("samples", samples)
    if before != (per_epoch, samples):
        raise InputError(f"{path}: was trained on {before[1]} samples with {before[0]} steps an epoch, now there are "
                         f"{samples} with {per_epoch}; resume with the same data, --batch_size and number of processes")
    _check_noise(settings, metadata["config"], path)
    _check_settings(settings, metadata["config"], path)
    checkpoint.restore(step_cell, values, path)
    _compare_machines(metadata.get("machines", machines), machines, settings, metadata["config"])
    log.info("resuming from %s (step %d of %d)", path, metadata["step"], position.total_steps)
    step = metadata["step"]
    return Position(per_epoch, position.total_steps, step, metadata.get("previous_step", step - 1),
                    {int(s): score for s, score in metadata.get("scores", {}).items()}), path


def _check_noise(settings: Settings, before: dict, path: Path) -> None:
    """Refuse to continue with another noise hash: dropout and sampling would change from here on."""
    version = (OLDEST | before)["noise"]
    if version != settings.noise:
        raise InputError(f"{path}: the run draws its noise with version {version}, now it is --noise={settings.noise}. "
                         f"Resume with --noise={version}, or start a new run from its weights: --pretrained={path} and "
                         "another --output_dir")


def _check_settings(settings: Settings, before: dict, path: Path) -> None:
    """Refuse to resume with settings that would change the run, and name the flags that continue it."""
    now = settings.model_dump(mode="json")
    off = {name: field.default for name, field in type(settings).model_fields.items()}  # of keys younger than the run
    before = type(settings).model_construct(**off | OLDEST | before).model_dump(mode="json", warnings=False)
    changed = [k for k in before if k in now and now[k] != before[k] and k not in settings.resumable_keys()]
    if changed:
        differing = ", ".join(f"{k}={now[k]} (was {before[k]})" for k in changed)
        flags = " ".join(as_flag(k, before[k]) for k in changed)
        raise InputError(f"{path}: the run has other settings: {differing}. Resume with {flags}, as in config.yaml "
                         "beside the checkpoint; to train with other settings, start a new run with --pretrained")


def _compare_machines(before: list[dict], now: list[dict], settings: Settings, config: dict) -> None:
    """Log why the resumed run will not end with the same bits as an undisturbed one."""
    differing = [f"{name}={new.get(name)} on rank {rank} (was {value})"
                 for rank, (old, new) in enumerate(zip(before, now))
                 for name, value in old.items() if new.get(name) != value]
    was = config.get("deterministic", settings.deterministic)
    if was != settings.deterministic and settings.device_target != "CPU":
        differing.insert(0, f"deterministic={settings.deterministic} (was {was})")
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        log.warning("this run will not end with the bits of an undisturbed one: %s%s. Results are equally good",
                    ", ".join(differing[:3]), more)


def _after_epochs(settings: Settings, step_cell: TrainStep, per_epoch: int) -> Position:
    """Load the whole state of the checkpoint `pretrained` as if it had ended epoch `start_epoch` of this run."""
    epoch, path = settings.start_epoch, Path(settings.pretrained)
    if epoch >= settings.epochs or not settings.pretrained:
        raise InputError(f"pretrain_epoch_size={epoch}: needs --pre_trained=CHECKPOINT, and less than the "
                         f"{settings.epochs} epochs of the run")
    checkpoint.restore(step_cell, checkpoint.load(path)[0], path)
    done = epoch * per_epoch // settings.accumulate_steps
    step_cell.optimizer.global_step.set_data(ms.Tensor([done], ms.int32))
    log.info("going on from %s as after epoch %d, with its optimizer", path, epoch)
    return Position(per_epoch, per_epoch * settings.epochs, epoch * per_epoch)
