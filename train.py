"""Train a model: `python train.py --model=deeplab_v3_s16 --data_file=... --train_dir=...` (docs/)."""
import logging
import sys

from src import tasks
from src.command_line import entry_point

log = logging.getLogger(__name__)


def main() -> int:
    settings = tasks.parse_settings(sys.argv[1:], program="train.py", groups=("train",))
    if settings.print_config:
        print(settings.to_preset(), end="")
        return 0
    tasks.check_training(settings)
    from src.engine import loop, runtime
    from src.engine.callbacks import Stopped

    if settings.replay:  # flags given beside it win, for data or a device that is elsewhere now
        given = {"is_distributed": False} | settings.model_dump(include=settings.model_fields_set)
        settings = tasks.settings_of(settings.replay, **given)
    else:
        settings = tasks.with_conventions(settings)
    machine = runtime.start(settings.device_target, device_id=settings.device_id,
                            is_distributed=settings.is_distributed, seed=settings.seed,
                            deterministic=settings.deterministic, jit_level=settings.jit_level,
                            compile_cache=settings.compile_cache, configuration=settings.shaping())
    task = tasks.create(settings)
    if settings.replay:
        for name, value in loop.replay(task, settings, machine).items():
            print(f"{name}: {value:.7g}")
        return 0
    try:
        last = loop.train(task, settings, machine)
    except Stopped as stopped:
        return 128 + stopped.signal
    log.info("checkpoint: %s", last)
    return 0


if __name__ == "__main__":
    entry_point(main)
