"""Augmented training samples per second: our pipeline against a torch DataLoader that does the same work.

    python benchmarks/data_pipeline.py --peer_python=PEERS/bin/python --data_root=CAMVID \\
        --data_lst=CAMVID/voc_train_lst.txt

    python benchmarks/data_pipeline.py --options --data_root=CAMVID --data_lst=CAMVID/voc_train_lst.txt

Decode, random scale 0.5 to 2 (bicubic), normalise, pad, crop to 513, mirror, batches of 16; 2 workers each (threads
here, processes in the DataLoader). A round is 48 batches. A ratio below 1 means that ours is faster.
With --options, no peer: processor time of a sample with each option of the augmentation over that of one without, in
alternating rounds.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import interleave

BATCH, BATCHES, CROP, WORKERS = 16, 48, 513, 2  # more batches per round than either side prefetches
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="python of the environment with torch and opencv")
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--data_lst", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--options", action="store_true", help="cost of each option of ours, without a peer")
    parser.add_argument("--worker", choices=("mindseg", "DataLoader"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.options:
        return options(args.data_root, args.data_lst, args.rounds)
    if not args.peer_python:
        parser.error("--peer_python is missing; or give --options")
    if args.worker:
        batches = (ours if args.worker == "mindseg" else torch_peer)(args.data_root, args.data_lst)
        return interleave.serve(lambda: [next(batches) for _ in range(BATCHES)])

    def worker(name: str, python: str) -> interleave.Worker:
        return interleave.Worker(name, [python, __file__, f"--worker={name}", f"--data_root={args.data_root}",
                                        f"--data_lst={args.data_lst}", f"--peer_python={args.peer_python}"])

    workers = worker("mindseg", sys.executable), worker("DataLoader", args.peer_python)
    result = interleave.compare(*workers, args.rounds)
    interleave.show(f"{BATCH * BATCHES} samples of {CROP} x {CROP}", result)
    for w in workers:
        print(f"  {w.name:<12} {BATCH * BATCHES / result[w.name]['median']:.0f} samples/s")
        w.stop()


OPTIONS = {"none": {}, "rare_class_crops=1": {"rare_class_crops": 1.0}, "rotation=10": {"rotation": 10.0},
           "colour_jitter=0.3,0.3,0.3,0": {"colour_jitter": (0.3, 0.3, 0.3, 0.0)},
           "colour_jitter=0.3,0.3,0.3,0.05": {"colour_jitter": (0.3, 0.3, 0.3, 0.05)}, "blur=1.5": {"blur": 1.5}}


def options(data_root: str, data_lst: str, rounds: int) -> None:
    """Print the time of a sample with each of `OPTIONS`, as a ratio to that with none."""
    import cv2
    import numpy as np

    from src.data import order
    from src.data.semantic.voc import ListDataset
    from src.deeplabv3.augmentation import TrainAugmentation
    from src.deeplabv3.preprocess import Preprocess

    cv2.setNumThreads(0)
    records = list(ListDataset(data_root, data_lst).rows(range(48)))
    seconds: dict[str, list[float]] = {name: [] for name in OPTIONS}
    for _ in range(rounds + 1):  # the first one warms up
        for name, values in OPTIONS.items():
            augment = TrainAugmentation(Preprocess("RGB", MEAN, STD), crop_size=CROP, min_scale=0.5, max_scale=2.0,
                                        num_classes=11, ignore_label=255, rarity=np.ones(256), **values)
            began = time.process_time()
            for sample_id, record in enumerate(records):
                augment(record.image, record.target, order.sample_rng(1, 0, sample_id))
            seconds[name].append((time.process_time() - began) / len(records))
    plain = seconds["none"][1:]
    for name, found in seconds.items():
        ratios = sorted(own / other for own, other in zip(found[1:], plain))
        print(f"{name:32} {1000 * statistics.median(found[1:]):6.2f} ms of processor time a sample, ratio "
              f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


def ours(data_root: str, data_lst: str):
    import src  # noqa: F401
    from src.data.pipeline import training_batches
    from src.data.semantic.voc import ListDataset
    from src.deeplabv3.augmentation import TrainAugmentation
    from src.deeplabv3.preprocess import Preprocess

    augmentation = TrainAugmentation(Preprocess("RGB", MEAN, STD), crop_size=CROP, min_scale=0.5, max_scale=2.0,
                               num_classes=11, ignore_label=255)
    data = training_batches(ListDataset(data_root, data_lst), augmentation=augmentation, seed=1, epochs=1000,
                            workers=WORKERS,
                            columns=("image", "label", "sample_id", "epoch"), batch_size=BATCH)
    return data.create_tuple_iterator(num_epochs=1, output_numpy=True)


def torch_peer(data_root: str, data_lst: str):
    import cv2
    import numpy as np
    import torch

    cv2.setNumThreads(0)
    lines = [line.split() for line in Path(data_lst).read_text(encoding="utf-8").splitlines()]

    class Samples(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(lines) * 1000

        def __getitem__(self, i: int):
            rng = np.random.default_rng(i)
            image, label = (os.path.join(data_root, name) for name in lines[i % len(lines)])
            image = cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB)
            label = cv2.imread(label, cv2.IMREAD_GRAYSCALE)
            scale = rng.uniform(0.5, 2.0)
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            label = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            top, left = (int(rng.integers(0, max(side - CROP, 0) + 1)) for side in label.shape)
            image, label = image[top:top + CROP, left:left + CROP], label[top:top + CROP, left:left + CROP]
            image = (image.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
            bottom, right = CROP - label.shape[0], CROP - label.shape[1]
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
            label = cv2.copyMakeBorder(label, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=255)
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            return (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
                    torch.from_numpy(np.ascontiguousarray(label, dtype=np.int32)))

    return iter(torch.utils.data.DataLoader(Samples(), BATCH, num_workers=WORKERS, drop_last=True))


if __name__ == "__main__":
    main()
