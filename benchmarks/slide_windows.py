"""eval_mode=slide on a CPU: windows in batches against the same windows one by one, and the memory of a huge image.

    python benchmarks/slide_windows.py [--batch_size=4] [--backbone=resnet101] [--crop_size=321]
    python benchmarks/slide_windows.py --memory [--side=14000] [--num_classes=21]
    python benchmarks/slide_windows.py --memory --checkpoint=CKPT [--side=14000] [--program=MAIN]

The first form labels images of 2 x 3 windows with DeepLabV3 on MindSpore, random weights; a ratio below 1 means that
batches are faster. The second labels one image of side x side with a network that costs nothing, so that the peak is
that of the windows and their sums. The third takes a JPEG of that size, practice pictures side by side, through eval.py
and predict.py, and with --program also through export.py and the C++ program (where build.sh put it), and prints the
peak memory of each process. The checkpoint is one that scripts/quickstart.sh trains.
"""
from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.interleave import compare_workers, serve, show

FORMS = "batches", "one by one"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--backbone", default="resnet101")
    parser.add_argument("--crop_size", type=int, default=321)
    parser.add_argument("--num_classes", type=int, default=21)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--side", type=int, default=14000)
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--program", default="", help="the built C++ program")
    parser.add_argument("--worker", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(work(args))
    elif args.checkpoint:
        memory_of_programs(args)
    elif args.memory:
        memory(args)
    else:
        result = compare_workers(FORMS, args.rounds)
        show(f"{args.images} images of 2 x 3 windows of {args.crop_size}, {args.backbone}, batches of "
             f"{args.batch_size}", result)


def work(args: argparse.Namespace):
    import src  # noqa: F401  the CPU switch
    import mindspore as ms
    import numpy as np

    from src.contract import Record
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    task = DeepLabV3Task(DeepLabV3Config(
        device_target="CPU", backbone=args.backbone, crop_size=args.crop_size, num_classes=args.num_classes,
        eval_mode="slide", batch_size=1 if args.worker == "one by one" else args.batch_size))
    predict = task.predictor(task.network())
    stride = predict.stride
    size = (args.crop_size + stride, args.crop_size + 2 * stride, 3)
    data = png(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    records = [Record(k, f"{k}.png", data, b"") for k in range(args.images)]
    return lambda: list(predict(records))


def memory(args: argparse.Namespace) -> None:
    """Print time and peak memory of one image, beside those of its decoded pixels and label map."""
    import numpy as np

    from src.contract import Record
    from src.deeplabv3.preprocess import Preprocess
    from src.deeplabv3.slide import SlidePredictor

    scores = np.random.default_rng(0).random((1, args.num_classes, 513, 513), np.float32)
    predict = SlidePredictor(lambda batch: scores, preprocess=Preprocess("RGB", (0.0,) * 3, (1.0,) * 3), window=513,
                             stride=342)
    data = png(np.zeros((args.side, args.side, 3), np.uint8))
    started, before = time.perf_counter(), peak()
    labels = next(predict([Record(0, "large.png", data, b"")])).labels
    print(f"{args.side} x {args.side}, {args.num_classes} classes, windows of 513 every 342: "
          f"{time.perf_counter() - started:.0f} s; peak {peak():.2f} GiB, {before:.2f} before; the pixels "
          f"{3 * labels.size / 2**30:.2f}, the label map {labels.size / 2**30:.2f}, the sums "
          f"{4 * args.num_classes * 513 * args.side / 2**30:.2f} GiB")


def memory_of_programs(args: argparse.Namespace) -> None:
    from PIL import Image

    from benchmarks.tiles import huge_picture, show_peak

    with tempfile.TemporaryDirectory() as folder:
        picture = huge_picture(Path(folder), args.side)
        Image.new("L", (args.side, args.side)).save(f"{folder}/label.png")
        (Path(folder) / "list.txt").write_text(f"{picture.name} label.png\n")
        mode, words = "--eval_mode=slide", ["--device_target=CPU", "--allow_single_class"]
        show_peak("predict.py", folder, ROOT / "predict.py", f"--model_path={args.checkpoint}", mode, "--output_dir=p",
                  picture)
        show_peak("eval.py", folder, ROOT / "eval.py", f"--ckpt_path={args.checkpoint}", mode, *words, "--batch_size=1",
                  f"--data_root={folder}", "--data_lst=list.txt", "--result_path=e.json")
        if args.program:
            show_peak("export.py", folder, ROOT / "export.py", f"--ckpt_file={args.checkpoint}", mode,
                      "--device_target=CPU", "--file_name=m", "--file_format=ONNX")
            (Path(folder) / "images.txt").write_text(f"{picture.name}\n")
            show_peak("C++", folder, args.program, "--model_path=m.onnx", f"--dataset_path={folder}",
                      "--image_list=images.txt", "--result_path=r", "--device_type=CPU", "--threads=2")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def png(image) -> bytes:
    import cv2

    return cv2.imencode(".png", image)[1].tobytes()


if __name__ == "__main__":
    main()
