"""How often 95 % intervals hold the truth: simulated pairs of models whose difference is known.

    python benchmarks/bootstrap_coverage.py --metric=miou --seeds=1,2,3
    python benchmarks/bootstrap_coverage.py --metric=ap --seeds=1,2,3

A simulation draws a val split of `--images` images, two models' results on it, and the intervals of both numbers and
of their difference as eval.py and compare_runs.py compute them. Images are hard or easy for both models alike, and the
second model is better by an amount that the true values, taken from a population of 300,000 images, make known. Also
drawn is a second model that is as good as the first: its difference should be called real (p < 0.05) in 5 % of the
simulations.
"""
from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from src.metrics.bootstrap import Samples, Shape, bootstrap
from src.metrics.image_matches import EVERY, ImageMatches
from src.metrics.image_statistics import ConfusionStatistics, ImageStatistics, MatchStatistics

BETTER = (0.0, 0.0, 0.25)  # how much better the models are, in logits; the second differs from the first by chance
POPULATION = 12, 25_000  # parts and images of each
CLASSES = {"miou": 8, "ap": 3}
NAME = {"miou": ("miou",), "ap": ("bbox", "AP")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metric", choices=list(NAME), required=True)
    parser.add_argument("--images", type=int, default=200, help="of a val split")
    parser.add_argument("--samples", type=int, default=500, help="bootstrap samples of an interval")
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    draw, name = {"miou": label_maps, "ap": detections}[args.metric], NAME[args.metric]
    truth, error = population(draw, name)
    print(f"{args.metric}: true values {truth[0]:.4f} and {truth[2]:.4f}, difference {truth[2] - truth[0]:.4f} "
          f"(+- {error:.4f}); {args.images} images, {args.samples} samples   [{os.cpu_count()} cores, "
          f"{datetime.date.today()}]")
    print("seed simulations  first  second  difference  p < 0.05 of equals   (coverage in %)")
    for seed in map(int, args.seeds.split(",")):
        started = time.process_time()
        rng = np.random.default_rng(seed)
        held = np.array([simulation(draw, name, truth, rng, args) for _ in range(args.simulations)])
        first, second, difference, called = 100 * held.mean(0)
        print(f"{seed:>4} {args.simulations:>11} {first:>6.1f} {second:>7.1f} {difference:>11.1f} {called:>19.1f}   "
              f"({time.process_time() - started:.0f} s)", flush=True)


def population(draw: Callable, name: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """The true values of the models, and the standard error of the last one."""
    parts, images = POPULATION
    rng, ones = np.random.default_rng(99), np.ones((images, 1))
    values = np.array([[model.numbers(ones)[name][0] for model in draw(rng, images)] for _ in range(parts)])
    truth = values.mean(0)
    truth[:2] = truth[:2].mean()  # they differ by chance alone
    return truth, float(values[:, 2].std(ddof=1) / parts ** 0.5)


def simulation(draw: Callable, name: tuple[str, ...], truth: np.ndarray, rng: np.random.Generator,
               args: argparse.Namespace) -> list[bool]:
    """Whether three intervals hold their truth, and whether equal models are called different."""
    seed = int(rng.integers(2 ** 31))
    first, equal, better = (bootstrap(model, args.samples, seed)[name] for model in draw(rng, args.images))
    pairs = ((first, truth[0]), (better, truth[2]), (better - first, truth[2] - truth[0]))
    return [*(holds(*pair) for pair in pairs), shape(equal - first).p_value() < 0.05]


def shape(samples: Samples) -> Shape:
    found = Shape.of(samples)
    assert found, "every number of a simulation is defined"
    return found


def holds(samples: Samples, truth: float) -> bool:
    low, high = shape(samples).interval()
    return low <= truth <= high


def label_maps(rng: np.random.Generator, images: int) -> list[ImageStatistics]:
    """Models of one split: classes from frequent, large and easy to rare, small and hard; errors cluster in images."""
    classes = CLASSES["miou"]
    frequency = 1 / np.arange(1, classes + 1)
    present = rng.random((images, classes)) < np.linspace(1, 0.25, classes)
    present[:, 0] = True
    area = rng.gamma(1.0, 1.0, present.shape) * frequency * present
    pixels = np.rint(area / area.sum(1, keepdims=True) * 20_000)
    ease = np.linspace(2.2, 0.6, classes) - rng.normal(0, 0.8, (images, 1)) + rng.normal(0, 0.6, present.shape)
    confused = np.where(np.eye(classes, dtype=bool), 0, (frequency * (present + 0.05))[:, None])  # (images, truth, as)
    confused /= confused.sum(2, keepdims=True)
    return [_confusion(pixels, _sigmoid(ease + better + rng.normal(0, 0.4, ease.shape)), confused) for better in BETTER]


def _confusion(pixels: np.ndarray, right: np.ndarray, confused: np.ndarray) -> ImageStatistics:
    hits = np.rint(pixels * right)
    counts = np.rint((pixels - hits)[:, :, None] * confused).astype(np.int64)
    counts[:, np.arange(pixels.shape[1]), np.arange(pixels.shape[1])] = hits
    image, truth, predicted = np.nonzero(counts)
    return ConfusionStatistics(*_images(len(pixels), pixels.shape[1]), image=image.astype(np.int32),
                               cell=(truth * pixels.shape[1] + predicted).astype(np.int32),
                               count=counts[image, truth, predicted])


def detections(rng: np.random.Generator, images: int) -> list[ImageStatistics]:
    """Models of one split with 2.1 objects an image, clustered, of three classes, and about as many false alarms."""
    classes, difficulty = CLASSES["ap"], rng.normal(0, 0.7, images)
    objects = rng.poisson(np.array([2.5, 1.2, 0.5]) * rng.gamma(2, 0.25, (images, 1)))
    where = np.repeat(np.stack(np.indices(objects.shape), -1).reshape(-1, 2), objects.reshape(-1), axis=0)
    ease = 1.0 - difficulty[where[:, 0]] + rng.normal(0, 0.8, len(where))
    return [_matches(rng, objects, where, ease + better + rng.normal(0, 0.5, len(ease)),
                     rng.poisson(np.exp(0.5 * difficulty - 0.3 * better)), classes) for better in BETTER]


def _matches(rng: np.random.Generator, objects: np.ndarray, where: np.ndarray, ease: np.ndarray,
             alarms: np.ndarray, classes: int) -> ImageStatistics:
    found = rng.random(len(ease)) < _sigmoid(ease)
    reached = np.clip(10 * rng.beta(2.5, 1.5, len(ease)) + 0.8 * ease, 0, 10).astype(int)  # IoU thresholds
    wrong = np.repeat(np.arange(len(alarms)), alarms)
    image = np.concatenate([where[found, 0], wrong])
    category = np.concatenate([where[found, 1], rng.choice(classes, len(wrong), p=[0.5, 0.3, 0.2])])
    score = np.concatenate([ease[found] + rng.normal(0, 1, found.sum()), rng.normal(-0.7, 1, len(wrong))])
    order = np.lexsort((-score, category, image))
    hits, ignored = np.zeros((2, len(order), 4), np.uint16)
    hits[:, 0] = np.concatenate([(1 << reached[found]) - 1, np.zeros(len(wrong), int)])[order]
    ignored[:, 1:] = EVERY  # nothing is small, medium or large here
    truth = np.zeros((np.count_nonzero(objects), 4), np.int32)
    truth_image, truth_category = np.nonzero(objects)
    truth[:, 0] = objects[truth_image, truth_category]
    records = ImageMatches(image[order].astype(np.int32), category[order].astype(np.int32), score[order], hits, ignored,
                           truth_image.astype(np.int32), truth_category.astype(np.int32), truth)
    return MatchStatistics(*_images(len(objects), classes), matches={"bbox": records}, max_detections=100)


def _images(images: int, classes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    return np.arange(images), np.zeros(images, np.int64), [f"class{k}" for k in range(classes)]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


if __name__ == "__main__":
    main()
