"""What an option of training costs: steps with it against steps without it, in alternating rounds on a CPU.

    python benchmarks/training_options.py [--option=ema_decay] [--backbone=resnet50] [--crop_size=321] [--batch_size=2]
    python benchmarks/training_options.py --model=maskrcnn [--option=adamw]

Random weights and the batch of src/tools/ascend_report.py. A ratio above 1 is what the option costs. Both workers
compile first, so the first line of output takes a minute or two.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.interleave import compare_workers, serve, show

OPTIONS = {"ema_decay": {"ema_decay": 0.999}, "adamw": {"optimizer": "adamw", "base_lr": 1e-4},
           "layer_decay": {"layer_decay": 0.7}, "log_grad_norms": {"log_grad_norms": True},
           "freeze_at": {"freeze_at": 3}}
PLAIN = "without"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("deeplabv3", "maskrcnn"), default="deeplabv3")
    parser.add_argument("--option", choices=OPTIONS, default="ema_decay")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--crop_size", type=int, default=321, help="DeepLabV3; Mask R-CNN has 256 x 256 pixels")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(work(args))
        return
    title = f"{args.steps} steps of {args.model}, {args.backbone}, batch {args.batch_size}, {args.option}"
    show(title, compare_workers((args.option, PLAIN), args.rounds))


def work(args: argparse.Namespace):
    import src  # noqa: F401  the CPU switch
    import mindspore as ms

    from src import tasks
    from src.config import build
    from src.engine.build import build_step
    from src.engine.runtime import Runtime
    from src.tools.ascend_report import training_batch

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    sizes = {"crop_size": args.crop_size} if args.model == "deeplabv3" else {
        "img_height": 256, "img_width": 256, "dataset": "other", "num_classes": 4, "norm": "frozen"}
    model = tasks.config_class(args.model).model_fields["model"].default
    config = build(tasks.config_class(args.model), {
        "model": model, "device_target": "CPU", "backbone": args.backbone, "batch_size": args.batch_size, **sizes,
        **OPTIONS.get(args.worker, {})}).completed()
    task = tasks.create(config)
    step = build_step(task, config, Runtime("CPU"), task.network(), 100)
    batch = [ms.Tensor(column) for column in training_batch(task)]

    def run() -> None:
        for _ in range(args.steps):
            for output in step(*batch):
                output.asnumpy()

    run()
    return run


if __name__ == "__main__":
    main()
