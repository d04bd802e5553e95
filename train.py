"""Train a model: `python train.py --model=deeplab_v3_s16 --data_file=... --train_dir=...` (see README.md)."""
import logging
import sys

from src import tasks
from src.config import entry_point

log = logging.getLogger(__name__)


def main() -> int:
    settings = tasks.parse_settings(sys.argv[1:], program="train.py", groups=("train",))
    if settings.print_config:
        print(settings.to_yaml(), end="")
        return 0
    from src.engine import loop, runtime

    settings = tasks.settings_of(settings.replay, replay=settings.replay) if settings.replay else (
        tasks.with_conventions(settings))
    machine = runtime.start(settings.device_target, device_id=settings.device_id,
                            is_distributed=settings.is_distributed, seed=settings.seed)
    task = tasks.create(settings)
    if settings.replay:
        for name, value in loop.replay(task, settings, machine).items():
            print(f"{name}: {value:.7g}")
        return 0
    last = loop.train(task, settings, machine)
    log.info("checkpoint: %s", last)
    return 0


if __name__ == "__main__":
    entry_point(main)
