"""Images per second of offline inference: the C++ program beside ONNX Runtime, OpenVINO and MindSpore from Python.

    python benchmarks/offline_inference.py --model=runs/export/model.onnx --images=IMAGES

Every program decodes, infers and writes label maps or detections of the same images, float32, 2 threads, decoding while
the network works. MODEL.mindir beside MODEL.onnx is MindSpore's. `benchmark_app -hint throughput` is OpenVINO's own
measure of what the network alone can reach on these threads: it neither decodes nor writes. Loading and compiling are
not counted; rounds are interleaved, and all programs are bound to the same 2 cores.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import interleave

THREADS = 2
PROGRAMS = {"C++": "", "ONNX Runtime": ".onnx", "OpenVINO": ".onnx", "MindSpore": ".mindir", "benchmark_app": ".onnx"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help=".onnx file, with preprocess.json beside it")
    parser.add_argument("--images", required=True, type=Path, help="folder of images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--result_path", default="", help="JSON file for the numbers")
    parser.add_argument("--worker", choices=PROGRAMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return {"C++": serve_program, "benchmark_app": serve_benchmark_app}.get(args.worker, serve_python)(args)
    results = run(args)
    show(results, args)
    if args.result_path:
        Path(args.result_path).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def run(args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every round after the first, by program."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # for the programs, too
    command = [sys.executable, __file__, f"--model={args.model}", f"--images={args.images}"]
    workers = [interleave.Worker(name, [*command, f"--worker={name}"], {"OMP_NUM_THREADS": str(THREADS)})
               for name in args.programs if args.model.with_suffix(PROGRAMS[name] or ".onnx").is_file()]
    seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for i in range(args.rounds + 1):
        for worker in workers:
            took = worker.once()
            if i:
                seconds[worker.name].append(took)
    for worker in workers:
        worker.stop()
    return seconds


def show(seconds: dict[str, list[float]], args: argparse.Namespace) -> None:
    count = len(image_paths(args.images))
    print(f"{args.model.name}, {count} images, {THREADS} threads, {args.rounds} rounds")
    peers = [name for name in seconds if name not in ("C++", "benchmark_app")]
    fastest = min(peers, key=lambda name: statistics.median(seconds[name]), default=None)
    for name, values in seconds.items():
        rates = sorted(count / value for value in values)
        print(f"  {name:<14} {statistics.median(rates):7.2f} images/s  ({rates[0]:.2f} to {rates[-1]:.2f})")
    for peer in filter(None, (fastest, "benchmark_app" if "benchmark_app" in seconds else "")):
        ratios = [b / a for a, b in zip(seconds.get("C++", ()), seconds[peer])]
        if ratios:
            print(f"  C++ / {peer}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); above 1: "
                  "C++ is faster")


def image_paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def serve_program(args: argparse.Namespace) -> None:
    """The C++ program, started again for every round; it measures its own speed from the first image on."""
    built = subprocess.run([ROOT / "ascend310_infer/build.sh"], capture_output=True, text=True, check=True)
    program = built.stdout.strip()
    print("ready {}", flush=True)
    for _ in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([program, f"--model_path={args.model}", f"--dataset_path={args.images}", "--device_type=CPU",
                            f"--result_path={folder}", f"--threads={THREADS}"], check=True, capture_output=True)
            index = json.loads(Path(folder, "index.json").read_bytes())
        print(f"took {len(index['images']) / index['images_per_second']}", flush=True)


def serve_benchmark_app(args: argparse.Namespace) -> None:
    """OpenVINO's measuring program, started again for every round, for as many inferences as there are images."""
    count = len(image_paths(args.images))
    command = [Path(sys.executable).with_name("benchmark_app"), "-m", args.model, "-d", "CPU", "-hint", "throughput",
               "-infer_precision", "f32", "-niter", str(count)]
    print("ready {}", flush=True)
    for _ in sys.stdin:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"took {count / float(re.search(r'Throughput: *([0-9.]+)', done.stdout)[1])}", flush=True)


def serve_python(args: argparse.Namespace) -> None:
    """A Python runtime behind our predictors, which decode ahead in threads; results as from the C++ program."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    predictor = python_predictor(args)
    from src.contract import LabelMap, Record

    records = [Record(n, path.name, path.read_bytes(), b"") for n, path in enumerate(image_paths(args.images))]

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for prediction in predictor(records):
                path = Path(folder, str(prediction.image_id))
                if isinstance(prediction, LabelMap):
                    cv2.imwrite(f"{path}.png", np.asarray(prediction.labels))
                else:
                    path.with_suffix(".json").write_text(json.dumps({
                        "boxes": prediction.boxes_image.tolist(), "scores": prediction.scores.tolist(),
                        "labels": prediction.labels.tolist(), "masks": prediction.rles}))

    started = time.perf_counter()
    work()
    interleave.serve(work, **{"first round s": time.perf_counter() - started})


def python_predictor(args: argparse.Namespace):
    """The model's predictor around the runtime."""
    import src  # noqa: F401  the CPU switch, for MindSpore
    from src.deeplabv3.inference import Predictor as SemanticPredictor
    from src.deeplabv3.preprocess import Preprocess as SemanticPreprocess
    from src.exporting import runners
    from src.maskrcnn.inference import Predictor as InstancePredictor
    from src.maskrcnn.preprocess import Preprocess as InstancePreprocess

    spec = json.loads((args.model.parent / "preprocess.json").read_bytes())
    run_model = runners.load(args.model.with_suffix(PROGRAMS[args.worker]), args.worker, threads=THREADS)
    normalise, order, resize = spec["normalise"], spec["decode"]["colour_order"], spec["resize"]
    if spec["task"] == "semantic":
        preprocess = SemanticPreprocess(order, tuple(normalise["mean"]), tuple(normalise["std"]))
        return SemanticPredictor(lambda batch: run_model(batch)[0], preprocess=preprocess, scales=(1.0,), flip=False,
                                            crop_size=resize["size"][0], batch_size=1)
    preprocess = InstancePreprocess(tuple(resize["size"]), tuple(normalise["mean"]), tuple(normalise["std"]), order,
                            keep_ratio=resize["rule"] != "stretch", rounding=resize["rounding"],
                            pad_before_normalise=spec["pad"]["value"] == "black_before_normalisation")
    return InstancePredictor(run_model, preprocess=preprocess, batch_size=1,
                                        paste_pad=spec["postprocess"]["paste_pad"],
                                        threshold=spec["postprocess"]["mask_threshold"])


if __name__ == "__main__":
    main()
