"""Read the tensors of a PyTorch `.pth` file without PyTorch, and nothing else that such a file can hold.

A `.pth` file is a pickle that describes tensors (storage, offset, sizes, strides) beside their storages: members of a
zip (PyTorch 1.6 and later), or one after the other behind the pickle (before; most of torchvision's published
detection and segmentation weights). A pickle is a program. Here its instructions are read before any of them runs:
those that can only build tuples, dictionaries and numbers pass, and of the names it may call there are the few that
rebuild a tensor, each replaced by a function of this module that only notes its arguments.
"""
from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.contract import InputError

_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
           "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "|b1"}
_OPCODES = frozenset("""PROTO STOP MARK POP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID""".split())
_PICKLE_ERRORS = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError)
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950a86a20f9469cfc6c, 1001
_WAY_OUT = "save it again with torch.save(model.state_dict(), path)"


class _Storage(NamedTuple):
    key: str
    dtype: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    """Stands in for a PyTorch function in a pickle. It has no attributes that a pickle could set."""

    __slots__ = ("function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def _note_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    """Arguments of `torch._utils._rebuild_tensor_v2`, as they are; `_Tensors.array` checks them."""
    return _Tensor(storage, offset, shape, strides)


_GLOBALS = {
    "torch._utils _rebuild_tensor_v2": _Rebuild(_note_tensor),
    "torch._utils _rebuild_parameter": _Rebuild(lambda data, *_: data),
    "collections OrderedDict": OrderedDict,
    **{f"torch {name}": dtype for name, dtype in _DTYPES.items()},
}


def read_torch(path: Path) -> dict[str, Any]:
    """{name: array or whatever else the state dict holds under it} of a `.pth` file; arrays are read-only.

    Raises:
        InputError: not a PyTorch file, truncated, or holding anything beside tensors.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        try:
            if start == b"PK":
                return _read_zip(path, file)
            if start == b"\x80\x02":
                return _read_legacy(path, file)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise InputError(f"{path}: truncated or damaged zip ({error}); fetch the file again") from error
    raise InputError(f"{path}: not a PyTorch weights file (it begins with {start!r}); {_WAY_OUT}")


def _read_zip(path: Path, file: BinaryIO) -> dict[str, Any]:
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        members = {m.filename: m for m in archive.infolist()}
        for m in members.values():
            if m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size or m.file_size > size:
                raise InputError(f"{path}: member {m.filename!r} is compressed or claims {m.file_size} bytes of a file "
                                 f"of {size}; PyTorch writes neither; {_WAY_OUT}")
        found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(found) != 1:
            raise InputError(f"{path}: a zip without PyTorch's data.pkl; {_WAY_OUT}")
        folder = found[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
            raise InputError(f"{path}: written on a big-endian machine; {_WAY_OUT} on a little-endian one")
        state = _load_pickle(path, io.BytesIO(archive.read(found[0])))

        def read(storage: _Storage) -> bytes:
            name = f"{folder}data/{storage.key}"
            if name not in members:
                raise InputError(f"{path}: storage {storage.key!r} is missing; the file is damaged, fetch it again")
            return archive.read(name)

        return _arrays(path, state, read, size)


def _read_legacy(path: Path, file: BinaryIO) -> dict[str, Any]:
    if _load_pickle(path, file) != _LEGACY_MAGIC or _load_pickle(path, file) != _LEGACY_PROTOCOL:
        raise InputError(f"{path}: a pickle, but not one of PyTorch's weights files; {_WAY_OUT}")
    system = _load_pickle(path, file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError(f"{path}: written on a big-endian machine; {_WAY_OUT} on a little-endian one")
    state, keys = _load_pickle(path, file), _load_pickle(path, file)
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise InputError(f"{path}: its list of storages is damaged; fetch the file again")
    itemsize = {t.storage.key: np.dtype(t.storage.dtype).itemsize for t in _tensors(state)}
    size, places = path.stat().st_size, {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        places[key] = (file.tell(), count * itemsize.get(key, 0))
        if key not in itemsize or sum(places[key]) > size:
            raise InputError(f"{path}: storage {key!r} of {count} values is truncated or unused; fetch the file again")
        file.seek(sum(places[key]))

    def read(storage: _Storage) -> bytes:
        if storage.key not in places:
            raise InputError(f"{path}: storage {storage.key!r} is missing; the file is damaged, fetch it again")
        file.seek(places[storage.key][0])
        return file.read(places[storage.key][1])

    return _arrays(path, state, read, size)


# --- the pickle -------------------------------------------------------------------------------------------------------

class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _GLOBALS[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *view = pid
        plain = isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_]{1,64}", key) and type(count) is int and count >= 0
        if kind != "storage" or dtype not in _DTYPES.values() or not plain or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"storage {pid!r:.100}")
        return _Storage(key, dtype, count)


def _load_pickle(path: Path, stream: BinaryIO) -> Any:
    """The object that the next pickle in `stream` describes, after all its instructions have been looked at."""
    start, limit = stream.tell(), path.stat().st_size
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL" and argument not in _GLOBALS:
                raise InputError(f"{path}: the pickle would call {argument.replace(' ', '.')}; only tensors are read "
                                 f"and nothing was executed; {_WAY_OUT}")
            # A memo index is a size to the unpickler: it allocates that many places.
            if opcode.name not in _OPCODES or (opcode.name.endswith("PUT") and argument > limit):
                raise InputError(f"{path}: the pickle holds the instruction {opcode.name} {argument!r:.60}, which "
                                 f"tensors do not need; nothing was executed; {_WAY_OUT}")
        stream.seek(start)
        return _Unpickler(stream).load()
    except InputError:
        raise
    except _PICKLE_ERRORS as error:
        raise InputError(f"{path}: its description of tensors is damaged ({error!r:.200}); {_WAY_OUT}") from error


# --- tensors ----------------------------------------------------------------------------------------------------------

def _tensors(state: Any) -> list[_Tensor]:
    return [value for value in state.values() if isinstance(value, _Tensor)] if isinstance(state, dict) else []


def _arrays(path: Path, state: Any, read: Callable[[_Storage], bytes], size: int) -> dict[str, Any]:
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise InputError(f"{path}: holds a {type(state).__name__}, not a state dict; {_WAY_OUT}")
    buffers: dict[str, bytes] = {}
    result, total = {}, 0
    for name, value in state.items():
        if not isinstance(value, _Tensor):
            hint = "; its tensors lie one level deeper" if isinstance(value, dict) else ""
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor{hint}; {_WAY_OUT}")
        _check_tensor(path, name, value)
        key = value.storage.key
        if key not in buffers:
            buffers[key] = read(value.storage)
        result[name] = _view(path, name, value, buffers[key])
        total += result[name].nbytes
        if total > 2 * size:
            raise InputError(f"{path}: at {name!r} its tensors amount to {total} bytes, in a file of {size}; {_WAY_OUT}")
    return result


def _check_tensor(path: Path, name: str, tensor: _Tensor) -> None:
    """Types, signs and range of a tensor's numbers: they come from the file."""
    storage, offset, shape, strides = tensor
    numbers = (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 8
               and all(type(n) is int and 0 <= n < 2 ** 40 for n in (offset, *shape, *strides)))
    if not isinstance(storage, _Storage) or not numbers:
        raise InputError(f"{path}: {name!r} has offset {offset!r}, sizes {shape!r:.60}, strides {strides!r:.60}, which "
                         f"are not those of a tensor; {_WAY_OUT}")
    count = int(np.prod([float(n) for n in shape]))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides)) if count else 0
    if max(last + 1, count) > storage.count and count:
        raise InputError(f"{path}: {name!r} of sizes {shape} reaches value {max(last + 1, count)} of a storage of "
                         f"{storage.count}; the file is damaged, fetch it again")


def _view(path: Path, name: str, tensor: _Tensor, buffer: bytes) -> np.ndarray:
    dtype = np.dtype(tensor.storage.dtype)
    if len(buffer) != tensor.storage.count * dtype.itemsize:
        raise InputError(f"{path}: {name!r} needs a storage of {tensor.storage.count} {dtype.name}, the file has "
                         f"{len(buffer)} bytes; it is damaged, fetch it again")
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    flat = np.frombuffer(buffer, dtype)[tensor.offset:]
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, [s * dtype.itemsize for s in tensor.strides],
                                           writeable=False)
