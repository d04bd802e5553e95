"""Pictures that show the same: near duplicates, and neighbouring frames of a video.

Near duplicates are found by a difference hash of 256 bits (16 x 16 comparisons of neighbouring gray values) and
confirmed by the correlation of thumbnails, because plain images with few objects have nearly the same hash. Mirrored
copies count too. Frames have names that differ in their last number alone and thumbnails that correlate. No MindSpore
here.
"""
from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from src.contract import InputError
from src.data import decode

HASH_SIDE, THUMB_SIDE = 16, 32
_HALVED = 8 * HASH_SIDE
MOST_BITS = 10  # that differ between the hashes of near duplicates
SAME, FRAME = 0.97, 0.8  # least correlation of the thumbnails of near duplicates and of neighbouring frames
MOST_STEP = 30  # of the number between neighbouring frames: one second of video, or twice the video's usual step
_BANDS = 16  # more than MOST_BITS, so that near duplicates agree in at least one band of 16 bits
_PLAIN = 2.0  # gray levels of standard deviation below which an image has nothing to compare


@dataclass(frozen=True)
class Fingerprint:
    """Hashes (16,) uint16 of the image and its mirror image, `thumb` (32, 32) uint8, and the hash of the file."""

    bits: np.ndarray
    mirrored: np.ndarray
    thumb: np.ndarray
    digest: bytes


def fingerprint(data: bytes) -> Fingerprint:
    """The fingerprint of an image file, which is decoded wholly.

    Raises:
        InputError: it cannot be decoded.
    """
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        gray = None
    if gray is None:
        decode.image_size(data)  # says why
        raise InputError("cannot be decoded; restore the file")
    return fingerprint_of(gray, hashlib.sha256(data).digest())


def fingerprint_of(gray: np.ndarray, digest: bytes) -> Fingerprint:
    """The fingerprint of a decoded image, (H, W) uint8, whose file's bytes have the hash `digest`."""
    while min(gray.shape) >= _HALVED:  # halving is ten times as fast as averaging over areas with fractions of pixels
        height, width = (side // 2 for side in gray.shape)
        gray = cv2.resize(gray[:2 * height, :2 * width], (width, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    bits, mirrored = (np.packbits(one[:, 1:] > one[:, :-1]).view(np.uint16) for one in (small, small[:, ::-1]))
    thumb = cv2.resize(gray, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    return Fingerprint(bits, mirrored, thumb, digest)


def near_duplicates(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures that are the same but for compression, size, slight changes or mirroring."""
    if len(prints) < 2:
        return []
    count = len(prints)
    bits = np.stack([p.bits for p in prints] + [p.mirrored for p in prints])
    pairs, tried = set(identical(prints)), set()
    for band in range(_BANDS):
        for bucket in _equal(bits[:, band]):
            if not bits[bucket[0], band]:  # plain ground, which thousands share
                continue
            for i, j in _close(bucket, bits, count):
                if i != j % count and (i, j) not in tried:
                    tried.add((i, j))
                    if _same(prints[i], prints[j % count], mirrored=j >= count):
                        pairs.add((min(i, j % count), max(i, j % count)))
    return sorted(pairs)


def identical(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, that chain the pictures whose files are the same byte by byte."""
    first: dict[bytes, int] = {}
    return [(first[p.digest], k) for k, p in enumerate(prints) if first.setdefault(p.digest, k) != k]


def _equal(values: np.ndarray) -> Iterator[np.ndarray]:
    order = np.argsort(values, kind="stable")
    for bucket in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
        if len(bucket) > 1:
            yield bucket


def _close(bucket: np.ndarray, bits: np.ndarray, count: int) -> Iterator[tuple[int, int]]:
    """Pairs of a bucket, the first one below `count`, whose hashes differ in at most MOST_BITS bits."""
    for k in range(min(len(bucket) - 1, int(np.searchsorted(bucket, count)))):
        differing = np.unpackbits((bits[bucket[k + 1:]] ^ bits[bucket[k]]).view(np.uint8), axis=1).sum(1)
        for other in bucket[k + 1:][differing <= MOST_BITS]:
            yield min(int(bucket[k]), int(other)), max(int(bucket[k]), int(other))


def _same(a: Fingerprint, b: Fingerprint, *, mirrored: bool) -> bool:
    return a.digest == b.digest or correlation(a.thumb, b.thumb[:, ::-1] if mirrored else b.thumb) >= SAME


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two thumbnails, -1..1; plain ones correlate with nothing."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    if min(x.std(), y.std()) < _PLAIN:
        return 0.0
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def video_frames(names: Sequence[str], prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Pairs of neighbouring frames: their names differ in the last number alone, and they look alike."""
    videos: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for position, name in enumerate(names):
        found = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", name)
        if found:
            videos[found[1], found[3]].append((int(found[2]), position))
    pairs = []
    for frames in videos.values():
        frames.sort()
        steps = [b - a for (a, _), (b, _) in itertools.pairwise(frames)]
        most = max(MOST_STEP, 2 * sorted(steps)[len(steps) // 2]) if len(steps) > 1 else MOST_STEP
        for (a, i), (b, j) in itertools.pairwise(frames):
            if b - a <= most and correlation(prints[i].thumb, prints[j].thumb) >= FRAME:
                pairs.append((min(i, j), max(i, j)))
    return pairs
