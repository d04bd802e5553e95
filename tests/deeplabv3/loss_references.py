"""The losses in float64 from the papers' formulas, pixel by pixel and class by class; slow and without MindSpore."""
from __future__ import annotations

import numpy as np

IGNORED = 255


def pixels(logits: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that count: (N, K) float64 probabilities and (N,) classes."""
    logits = np.moveaxis(logits.astype(np.float64), 1, -1)[label != IGNORED]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True), label[label != IGNORED]


def cross_entropies(p: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    """(N,): cross-entropy against the smoothed one-hot vector of each pixel."""
    truth = np.full(p.shape, smoothing / p.shape[1])
    truth[np.arange(len(y)), y] += 1 - smoothing
    return -(truth * np.log(p)).sum(1)


def ce(logits, label, *, smoothing=0.0, weights=None) -> float:
    p, y = pixels(logits, label)
    weight = np.ones(len(y)) if weights is None else np.asarray(weights)[y]
    return float((cross_entropies(p, y, smoothing) * weight).sum() / weight.sum()) if len(y) else 0.0


def ohem(logits, label, *, threshold: float, min_kept: int, smoothing=0.0, weights=None) -> float:
    p, y = pixels(logits, label)
    if not len(y):
        return 0.0
    own = p[np.arange(len(y)), y]
    hardest = np.argsort(own)[:min_kept * len(label)]
    kept = sorted(set(hardest.tolist()) | set(np.flatnonzero(own < threshold).tolist()))
    weight = (np.ones(len(y)) if weights is None else np.asarray(weights)[y])[kept]
    return float((cross_entropies(p, y, smoothing)[kept] * weight).sum() / weight.sum())


def dice(logits, label) -> float:
    p, y = pixels(logits, label)
    losses = [1 - 2 * p[y == k, k].sum() / (p[:, k].sum() + (y == k).sum()) for k in sorted(set(y.tolist()))]
    return float(np.mean(losses)) if losses else 0.0


def lovasz(logits, label) -> float:
    """The Lovasz extension by its definition: sum of sorted errors times the steps of the set function 1 - IoU."""
    p, y = pixels(logits, label)
    losses = []
    for k in sorted(set(y.tolist())):
        truth = y == k
        errors = np.abs(truth - p[:, k])
        wrong, before, total = np.zeros(len(y), bool), 0.0, 0.0
        for i in np.argsort(-errors, kind="stable"):
            wrong[i] = True
            predicted = truth ^ wrong
            jaccard = 1 - (truth & predicted).sum() / (truth | predicted).sum()
            total += errors[i] * (jaccard - before)
            before = jaccard
        losses.append(total)
    return float(np.mean(losses)) if losses else 0.0


def gradient(function, logits: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of `function` at float64 logits."""
    logits = logits.astype(np.float64)
    out = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        moved = [logits.copy(), logits.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        out[index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return out
