"""PyTorch's weights files, written by hand for tests: opcodes of the pickle, zip or bare storages."""
from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np


def unicode(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)  # LONG1


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key: str, count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *,
           dtype: str = "FloatStorage", view: bytes = b"") -> bytes:
    """Opcodes of what `torch.save` writes for one tensor."""
    storage = (b"(" + unicode("storage") + f"ctorch\n{dtype}\n".encode() + unicode(key) + unicode("cpu")
               + number(count) + view + b"tQ")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def state_dict(entries: dict[str, bytes]) -> bytes:
    """A whole pickle: an OrderedDict of names and opcodes, with the attribute `_metadata` that modules add."""
    items = b"".join(unicode(name) + value for name, value in entries.items())
    return (b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + items + b"u}" + unicode("_metadata") + b"}sb.")


def torch_zip(path: Path, pickle: bytes, storages: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", "little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def torch_legacy(path: Path, pickle: bytes, storages: dict[str, np.ndarray], *, counts: dict[str, int] | None = None,
                 little_endian: bool = True) -> Path:
    magic = b"\x80\x02\x8a\x0a" + (0x1950a86a20f9469cfc6c).to_bytes(10, "little") + b"."
    system = b"\x80\x02}" + unicode("little_endian") + (b"\x88" if little_endian else b"\x89") + b"s."
    keys = b"\x80\x02](" + b"".join(map(unicode, storages)) + b"e."
    data = b"".join(struct.pack("<q", (counts or {}).get(key, a.size)) + a.tobytes() for key, a in storages.items())
    path.write_bytes(magic + b"\x80\x02M\xe9\x03." + system + pickle + keys + data)
    return path
