"""Evaluate a checkpoint: `python eval.py --data_root=... --data_lst=... --ckpt_path=...` (docs/)."""
import logging
import sys
from pathlib import Path

from src import tasks
from src.command_line import entry_point
from src.contract import InputError

log = logging.getLogger(__name__)


def main() -> int:
    settings = tasks.parse_settings(sys.argv[1:], program="eval.py", groups=("eval",))
    if settings.print_config:
        print(settings.to_preset(), end="")
        return 0
    if not settings.checkpoint:
        raise InputError("--ckpt_path is missing: the checkpoint to evaluate")
    path = Path(settings.result_path)
    if path.is_dir():
        raise InputError(f"--result_path={path}: a folder; name a file")
    tasks.check(settings, "val")
    path.parent.mkdir(parents=True, exist_ok=True)
    from src.engine import inference_engine, loop, runtime
    from src.engine.precision import apply_inference_amp
    from src.results.evaluation import write_evaluation
    from src.weights.load import load_weights

    settings = tasks.with_conventions(settings)
    machine = runtime.start(settings.device_target, device_id=settings.device_id,
                            deterministic=settings.deterministic, jit_level=settings.jit_level,
                            compile_cache=settings.compile_cache, configuration=settings.shaping())
    task = tasks.create(settings)
    network = task.network()
    report = load_weights(network, settings.checkpoint, expect_unexpected=task.may_be_missing,
                          remedy="Leave out --model, --backbone, --num_classes and --norm where the checkpoint says "
                                 "what it was trained for")
    log.info(report.summary())
    apply_inference_amp(network, settings.amp_level, settings.device_target, report.conventions)
    log.info("inference in %s%s", task.engine.name, inference_engine.hint(settings))
    evaluator = loop.evaluate_split(task, network, task.dataset("val"), machine)
    numbers = evaluator.compute()
    print(task.describe(numbers))
    write_evaluation(path, task, evaluator, numbers, settings)
    return 0


if __name__ == "__main__":
    entry_point(main)
