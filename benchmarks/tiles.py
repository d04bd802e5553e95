"""eval_mode=tiles on a CPU: tiles in batches against the same tiles one by one, and the memory of a huge image.

    python benchmarks/tiles.py [--batch_size=4] [--backbone=resnet50] [--side=384]
    python benchmarks/tiles.py --memory --checkpoint=CKPT [--size=14000] [--tile=1280] [--side=256] [--program=MAIN]

The first form finds the instances of an image of 3 x 3 tiles with Mask R-CNN on MindSpore, random weights; a ratio
below 1 means that batches are faster. The second takes a JPEG of size x size pixels, practice pictures side by side,
through eval.py and predict.py, and with --program also through export.py and the C++ program (where build.sh put it),
and prints the peak memory of each process. The checkpoint is one that scripts/quickstart.sh trains.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
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
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--side", type=int, default=384, help="of the network's input, and of a tile in the first form")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--size", type=int, default=14000, help="of the huge image")
    parser.add_argument("--tile", type=int, default=1280, help="side of a tile of the huge image")
    parser.add_argument("--program", default="", help="the built C++ program")
    parser.add_argument("--worker", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(work(args))
    elif args.memory:
        memory(args)
    else:
        result = compare_workers(FORMS, args.rounds)
        show(f"3 x 3 tiles of {args.side}, {args.backbone}, batches of {args.batch_size}", result)


def work(args: argparse.Namespace):
    import src  # noqa: F401  the CPU switch
    import cv2
    import mindspore as ms
    import numpy as np

    from src.contract import Record
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    config = {"num_classes": 81, "device_target": "CPU", "norm": "batch", "backbone": args.backbone,
              "img_height": args.side, "img_width": args.side, "dataset": "other"}
    pixels = np.random.default_rng(0).integers(0, 255, (args.side * 5 // 2, args.side * 5 // 2, 3), np.uint8)
    if args.worker == "batches":
        config |= {"eval_mode": "tiles", "tile_overlap": args.side // 4, "test_batch_size": args.batch_size}
        pictures = [pixels]
    else:
        config |= {"test_batch_size": 1}
        tiling = MaskRCNNConfig(**config, eval_mode="tiles", tile_overlap=args.side // 4).tiling
        pictures = [tile.pixels(pixels) for tile in tiling.tiles(pixels.shape[:2])]
        assert len(pictures) == 9
    task = MaskRCNNTask(MaskRCNNConfig(**config).completed())
    predict = task.predictor(task.network())
    records = [Record(k, f"{k}.png", cv2.imencode(".png", picture)[1].tobytes(), b"")
               for k, picture in enumerate(pictures)]
    return lambda: list(predict(iter(records)))


def memory(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = huge_picture(Path(folder), args.size)
        settings = ["--eval_mode=tiles", f"--tile_size={args.tile}"]
        model = [f"--img_height={args.side}", f"--img_width={args.side}", "--rpn_max_num=1000", "--rpn_nms_pre=1000",
                 "--test_max_per_img=200", "--device_target=CPU"]
        data = [f"--ann_file={folder}/truth.json", f"--image_dir={folder}"]
        checkpoint = f"--ckpt_path={args.checkpoint}"
        show_peak("eval.py", folder, ROOT / "eval.py", checkpoint, *settings, *model, *data, "--test_batch_size=1",
                  "--result_path=e.json")
        show_peak("predict.py", folder, ROOT / "predict.py", f"--model_path={args.checkpoint}", *settings,
                  "--output_dir=p", picture)
        if args.program:
            show_peak("export.py", folder, ROOT / "export.py", f"--ckpt_file={args.checkpoint}", *settings, *model,
                      "--file_name=m", "--file_format=ONNX")
            (Path(folder) / "list.txt").write_text(f"{picture.name} 1\n")
            show_peak("C++", folder, args.program, "--model_path=m.onnx", f"--dataset_path={folder}",
                      "--image_list=list.txt", "--result_path=r", "--device_type=CPU", "--threads=2")


def huge_picture(folder: Path, size: int) -> Path:
    """Practice pictures side by side as a JPEG, and truth.json with no more than its size and the classes.

    Drawn in a process of its own: the peak memory of a program starts with that of the process that started it.
    """
    drawing = multiprocessing.get_context("spawn").Process(target=draw_huge_picture, args=(folder, size))
    drawing.start()
    drawing.join()
    return folder / "huge.jpg"


def draw_huge_picture(folder: Path, size: int) -> None:
    import cv2
    import numpy as np

    from src.data.practice.shapes import CLASS_NAMES, draw_scene

    scenes = [draw_scene(np.random.default_rng([3, k]), (160, 160)).image for k in range(64)]
    block = np.concatenate([np.concatenate(scenes[k:k + 8], 1) for k in range(0, 64, 8)])
    times = -(-size // len(block))
    image = np.tile(block, (times, times, 1))[:size, :size]
    cv2.imwrite(str(folder / "huge.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    categories = [{"id": k, "name": name} for k, name in enumerate(CLASS_NAMES) if k]
    truth = {"images": [{"id": 1, "file_name": "huge.jpg", "height": size, "width": size}], "categories": categories,
             "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 60, 60],
                              "area": 3600, "segmentation": [[0, 0, 60, 0, 60, 60, 0, 60]]}]}
    (folder / "truth.json").write_text(json.dumps(truth))


def show_peak(name: str, folder: str, *words) -> None:
    """Run a program and print the most memory that it had."""
    command = [str(word) for word in words]
    command = [sys.executable, *command] if command[0].endswith(".py") else [os.path.abspath(command[0]), *command[1:]]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said)
    print(f"{name}: peak {usage.ru_maxrss * 1024 / 1e9:.2f} GB in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
