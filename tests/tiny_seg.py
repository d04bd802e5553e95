"""Small data for tests: deterministic images and labels in files, lists of them, and records in memory."""
from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from src.contract import Record


def png(array: np.ndarray) -> bytes:
    """PNG bytes of (H, W) or (H, W, 3) RGB."""
    return cv2.imencode(".png", array if array.ndim == 2 else array[..., ::-1])[1].tobytes()


def jpeg(array: np.ndarray, *flags: int) -> bytes:
    """JPEG bytes of (H, W, 3) RGB."""
    return cv2.imencode(".jpg", array[..., ::-1], list(flags))[1].tobytes()


def raw_png(rows: list[bytes], width: int, depth: int, colour_type: int, palette: bytes = b"") -> bytes:
    """A PNG of any bit depth and colour type from its packed rows."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (chunk(b"PLTE", palette) if palette else b"")
            + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def image(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def label(seed: int, height: int = 12, width: int = 16, num_classes: int = 3) -> np.ndarray:
    out = np.random.default_rng(seed).integers(0, num_classes, (height, width), np.uint8)
    out[0] = 255
    return out


def write_data(root: Path, count: int, **size: int) -> Path:
    """Write `images/N.jpg`, `labels/N.png` for N in 0..count-1, and `list.txt`; return the list's path."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (root / f"images/{n}.jpg").write_bytes(jpeg(image(n, **size)))
        (root / f"labels/{n}.png").write_bytes(png(label(n, **size)))
    path = root / "list.txt"
    path.write_text("".join(f"images/{n}.jpg labels/{n}.png\n" for n in range(count)))
    return path


class Memory:
    """A source of given records."""

    name = "memory"

    def __init__(self, records: list[Record]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def rows(self, sample_ids):
        return (self.records[i] for i in sample_ids)


def record(image_id: int, image: bytes = b"image", target: bytes = b"target") -> Record:
    return Record(image_id, f"{image_id}.jpg", image, target, f"memory:{image_id}")


def content(records) -> list[tuple]:
    return [(r.image_id, r.file_name, r.image, r.target) for r in records]
