"""Write a checkpoint as MindIR, AIR or ONNX: `python export.py --ckpt_file=... --file_format=ONNX` (docs/export.md)."""
import logging
import sys
from pathlib import Path

from src import tasks
from src.command_line import entry_point
from src.contract import InputError
from src.exporting.targets import refuse_impossible, targets

log = logging.getLogger(__name__)


def main() -> int:
    settings = tasks.parse_settings(sys.argv[1:], program="export.py", groups=("export",))
    if settings.print_config:
        print(settings.to_preset(), end="")
        return 0
    if not settings.checkpoint:
        raise InputError("--ckpt_file is missing: the checkpoint to export")
    checkpoint = Path(settings.checkpoint)
    files = targets(settings.file_name, checkpoint, settings.file_format)
    refuse_impossible(files, settings.device_target, settings.sample_images)
    tasks.check(settings)
    settings = tasks.with_conventions(settings)
    from src.engine import runtime
    from src.exporting import flow, preprocess_spec
    from src.weights.load import load_weights

    runtime.start(settings.device_target, device_id=settings.device_id,
                  deterministic=settings.deterministic, jit_level=settings.jit_level)
    task = tasks.create(settings)
    network = task.network()
    report = load_weights(network, checkpoint, expect_unexpected=task.may_be_missing)
    log.info(report.summary())
    spec = preprocess_spec.complete(task.export.preprocess_spec(), model=settings.model, family=report.family,
                                    checkpoint=checkpoint, conventions=settings.conventions())
    flow.export(task, network, spec, files, sample_images=settings.sample_images)
    return 0


if __name__ == "__main__":
    entry_point(main)
