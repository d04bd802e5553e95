"""Confidence intervals and paired tests by the bootstrap over images (Efron and Tibshirani 1993, chapters 13 to 16).

The images of a split are drawn again with replacement, as many as there are; the spread of a number over such samples
is how uncertain it is because the split is what it is. Models are compared on the same samples: what makes an image
hard for both cancels out. The images count as independent; those of one video are not, and intervals are then too
narrow. What training draws (the seed) is not in the interval.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy import special

from src.metrics.bootstrap_options import SEED
from src.metrics.image_statistics import ImageStatistics, Name

LEVEL = 0.95
LEAST_IMAGES = 10  # with fewer, samples of them say little
_DEFINED = 0.99  # of the samples: what k of many images decide is missing in exp(-k) of them; k < 5 say little
_GROUPS = 200  # of images that are left out in turn
_CELLS = 1 << 22  # weights at a time
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Samples:
    """A number on the split, on bootstrap samples of it, and without one group of images after the other.

    Differences of the same samples' numbers are samples of the difference.

    Attributes:
        images: how many the split has.
    """

    value: float
    drawn: np.ndarray
    left_out: np.ndarray
    images: int

    def __sub__(self, other: Samples) -> Samples:
        return Samples(self.value - other.value, self.drawn - other.drawn, self.left_out - other.left_out, self.images)


def bootstrap(statistics: ImageStatistics, count: int, seed: int) -> dict[Name, Samples]:
    """Every number of a split on `count` bootstrap samples; equal seeds draw the same images of equal splits."""
    images = len(statistics)
    values = statistics.numbers(np.ones((images, 1)))
    drawn = _on_blocks(statistics, count, _draws(np.random.default_rng(seed), images))
    groups = min(images, _GROUPS)
    group = np.arange(images) * groups // images
    left_out = _on_blocks(statistics, groups, lambda start, width: (
        group[:, None] != np.arange(start, start + width)).astype(np.float64))
    return {name: Samples(float(value[0]), drawn[name], left_out[name], images) for name, value in values.items()}


def _draws(rng: np.random.Generator, images: int) -> Callable[[int, int], np.ndarray]:
    def draw(start: int, width: int) -> np.ndarray:
        chosen = rng.integers(images, size=(width, images)) + images * np.arange(width)[:, None]
        counts = np.bincount(chosen.reshape(-1), minlength=width * images).reshape(width, images)
        return np.ascontiguousarray(counts.T, np.float64)
    return draw


def _on_blocks(statistics: ImageStatistics, count: int,
               weights: Callable[[int, int], np.ndarray]) -> dict[Name, np.ndarray]:
    """The numbers of `count` weightings; `weights(start, width)` makes (images, width) of them."""
    width = max(_CELLS // max(len(statistics), 1), 1)
    widths = [min(width, count - start) for start in range(0, count, width)] or [0]
    blocks = [statistics.numbers(weights(k * width, own)) for k, own in enumerate(widths)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@dataclass(frozen=True)
class Shape:
    """The bootstrap distribution of a number, for intervals of the kind BCa (bias-corrected and accelerated).

    Samples of few images spread too little, and normal quantiles are too small for them: the intervals are wider by
    Student's quantile over the normal one and by sqrt(n / (n - 1)) (Hesterberg 2015, "expanded" intervals).

    Attributes:
        drawn: the samples in which the number is defined, sorted.
        bias: how many standard deviations the number lies above the median of the samples.
        acceleration: how its standard deviation changes with the number.
        images: n.
    """

    drawn: np.ndarray
    bias: float
    acceleration: float
    images: int

    @classmethod
    def of(cls, samples: Samples) -> Shape | None:
        """None where the number is not defined, or rests on so few images that too many samples lack it."""
        drawn = np.sort(samples.drawn[np.isfinite(samples.drawn)])
        if not np.isfinite(samples.value) or not len(drawn) or len(drawn) < _DEFINED * len(samples.drawn):
            return None
        pulls = samples.left_out[np.isfinite(samples.left_out)]
        pulls = pulls.mean() - pulls
        spread = (pulls ** 2).sum() ** 1.5
        acceleration = float((pulls ** 3).sum() / (6 * spread)) if spread > 0 else 0.0
        return cls(drawn, _score(drawn, samples.value), acceleration, samples.images)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The ends of the confidence interval."""
        ends = []
        for student in special.stdtrit(self.images - 1, [(1 - level) / 2, (1 + level) / 2]).tolist():
            shifted = self.bias + student * self._expansion
            ends.append(_NORMAL.cdf(self.bias + shifted / (1 - self.acceleration * shifted)))
        low, high = np.quantile(self.drawn, ends).tolist()
        return low, high

    def p_value(self) -> float:
        """Two-sided, of the hypothesis that the number is 0: below 1 - L where the interval of level L excludes 0."""
        if self.drawn[0] == self.drawn[-1] == 0:
            return 1.0
        shifted = _score(self.drawn, 0.0) - self.bias
        student = (shifted / (1 + self.acceleration * shifted) - self.bias) / self._expansion
        return min(1.0, 2 * float(special.stdtr(self.images - 1, -abs(student))))

    @property
    def _expansion(self) -> float:
        return (self.images / (self.images - 1)) ** 0.5


def _score(drawn: np.ndarray, value: float) -> float:
    """The standard normal's quantile that `value` is among sorted samples; equal ones count half."""
    below = (np.searchsorted(drawn, value, "left") + np.searchsorted(drawn, value, "right")) / 2
    return _NORMAL.inv_cdf((below + 0.5) / (len(drawn) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values of several tests (Holm 1979): the chance of any false alarm stays below the level."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected


def intervals(samples: Mapping[Name, Samples]) -> dict[str, Any]:
    """The 95 % intervals [low, high], nested as the results are; None where there is none."""
    nested: dict[str, Any] = {}
    for name, one in samples.items():
        place, shape = nested, Shape.of(one)
        for key in name[:-1]:
            place = place.setdefault(key, {})
        place[name[-1]] = shape and list(shape.interval())
    return nested


def report(statistics: ImageStatistics, count: int, seed: int = SEED) -> dict[str, Any]:
    """What is added to the results: `intervals` and how they were drawn; nothing without samples."""
    if not count:
        return {}
    drawn = {"bootstrap": {"samples": count, "seed": seed, "level": LEVEL}}
    if len(statistics) < LEAST_IMAGES:
        return drawn
    return drawn | {"intervals": intervals(bootstrap(statistics, count, seed))}
