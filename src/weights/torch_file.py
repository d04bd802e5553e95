"""Read the tensors of a PyTorch `.pth` file without PyTorch; anything else in such a file is refused.

The file holds a pickle (`torch_pickle.py`), which describes each tensor by storage, offset, sizes and strides, and the
storages. Since PyTorch 1.6 these are members of a zip file; before, and in many published files, they follow the
pickle.
"""
from __future__ import annotations

import io
import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from src.contract import InputError
from src.weights.torch_pickle import WAY_OUT, Storage, TensorSpec, load_pickle

_LONGEST_PICKLE = 1 << 24  # bytes; a tensor takes about 200
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # by protocol
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950a86a20f9469cfc6c, 1001


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of the state dict in a `.pth` file; the arrays are read-only.

    Raises:
        InputError: not a PyTorch file, truncated, or holding anything but tensors.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        try:
            if start == b"PK":
                return _read_zip(path, file)
            if start in _PICKLE_STARTS:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return _read_legacy(path, content)
        except InputError:
            raise
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error) as error:
            raise InputError(f"{path}: truncated or damaged zip ({error}); fetch the file again") from error
    raise InputError(f"{path}: not a PyTorch weights file (it begins with {start!r}); {WAY_OUT}")


def _read_zip(path: Path, file: BinaryIO) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        members = {m.filename: m for m in archive.infolist()}
        for m in members.values():
            if m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size or m.file_size > size:
                raise InputError(f"{path}: member {m.filename!r} is compressed or claims {m.file_size} bytes of a file "
                                 f"of {size}; PyTorch writes neither; {WAY_OUT}")
        found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(found) != 1:
            raise InputError(f"{path}: a zip with {len(found)} members data.pkl instead of PyTorch's one; {WAY_OUT}")
        if members[found[0]].file_size > _LONGEST_PICKLE:
            raise InputError(f"{path}: its description of tensors has {members[found[0]].file_size} bytes; {WAY_OUT}")
        folder = found[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
            raise InputError(f"{path}: written on a big-endian machine; {WAY_OUT} on a little-endian one")
        state = load_pickle(path, io.BytesIO(archive.read(found[0])))

        def read(storage: Storage) -> bytes:
            name = f"{folder}data/{storage.key}"
            if name not in members:
                raise InputError(f"{path}: storage {storage.key!r} is missing; the file is damaged, fetch it again")
            return archive.read(name)

        return _arrays(path, state, read, size)


def _read_legacy(path: Path, file: mmap.mmap) -> dict[str, np.ndarray]:
    if load_pickle(path, file) != _LEGACY_MAGIC or load_pickle(path, file) != _LEGACY_PROTOCOL:
        raise InputError(f"{path}: a pickle, but not one of PyTorch's weights files; {WAY_OUT}")
    system = load_pickle(path, file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError(f"{path}: written on a big-endian machine; {WAY_OUT} on a little-endian one")
    state, keys = load_pickle(path, file), load_pickle(path, file)
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise InputError(f"{path}: its list of storages is damaged; fetch the file again")
    itemsize = {t.storage.key: np.dtype(t.storage.dtype).itemsize for t in _tensors(state)}
    size, places = len(file), {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        places[key] = (file.tell(), count * itemsize.get(key, 0))
        if key not in itemsize or sum(places[key]) > size:
            raise InputError(f"{path}: storage {key!r} of {count} values is truncated or unused; fetch the file again")
        file.seek(sum(places[key]))

    def read(storage: Storage) -> bytes:
        if storage.key not in places:
            raise InputError(f"{path}: storage {storage.key!r} is missing; the file is damaged, fetch it again")
        start, length = places[storage.key]
        return file[start:start + length]

    return _arrays(path, state, read, size)


# --- tensors ----------------------------------------------------------------------------------------------------------

def _tensors(state: Any) -> list[TensorSpec]:
    return [value for value in state.values() if isinstance(value, TensorSpec)] if isinstance(state, dict) else []


def _arrays(path: Path, state: Any, read: Callable[[Storage], bytes], size: int) -> dict[str, np.ndarray]:
    if not isinstance(state, dict) or not all(type(name) is str for name in state):
        raise InputError(f"{path}: holds a {type(state).__name__}, not a state dict; {WAY_OUT}")
    buffers: dict[str, bytes] = {}
    result, total = {}, 0
    for name, value in state.items():
        if not isinstance(value, TensorSpec):
            hint = "; its tensors are one level deeper" if isinstance(value, dict) else ""
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor{hint}; {WAY_OUT}")
        _check_tensor(path, name, value)
        key = value.storage.key
        if key not in buffers:
            buffers[key] = read(value.storage)
        result[name] = _view(path, name, value, buffers[key])
        total += result[name].nbytes
        if total > 2 * size:
            raise InputError(f"{path}: up to {name!r} its tensors have {total} bytes, in a file of {size}; {WAY_OUT}")
    return result


def _check_tensor(path: Path, name: str, tensor: TensorSpec) -> None:
    """Check types, signs and range of a tensor's offset, sizes and strides, which come from the file."""
    storage, offset, shape, strides = tensor
    numbers = (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 8
               and all(type(n) is int and 0 <= n < 2 ** 40 for n in (offset, *shape, *strides)))
    if not numbers:
        raise InputError(f"{path}: offset, sizes or strides of {name!r:.100} are not those of a tensor; {WAY_OUT}")
    count = int(np.prod([float(n) for n in shape]))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides)) if count else 0
    if max(last + 1, count) > storage.size and count:
        raise InputError(f"{path}: {name!r} of sizes {shape} reaches value {max(last + 1, count)} of a storage of "
                         f"{storage.size}; the file is damaged, fetch it again")


def _view(path: Path, name: str, tensor: TensorSpec, buffer: bytes) -> np.ndarray:
    dtype = np.dtype(tensor.storage.dtype)
    if len(buffer) != tensor.storage.size * dtype.itemsize:
        raise InputError(f"{path}: {name!r} needs a storage of {tensor.storage.size} {dtype.name}, the file has "
                         f"{len(buffer)} bytes; it is damaged, fetch it again")
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    flat = np.frombuffer(buffer, dtype)[tensor.offset:]
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, [s * dtype.itemsize for s in tensor.strides],
                                           writeable=False)
