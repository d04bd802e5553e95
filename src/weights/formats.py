"""Read and write files of named tensors: .ckpt (MindSpore), .safetensors, .npz, and .pth (PyTorch, read only).

Files are not trusted: sizes are compared with the file before anything is allocated, and nothing in a file is
executed. Metadata is a flat table of strings.
"""
from __future__ import annotations

import binascii
import importlib.util
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError
from src.files import replacing
from src.weights.torch_file import read_torch

Tensors = dict[str, np.ndarray]
Metadata = dict[str, str]

WRITABLE = (".ckpt", ".safetensors", ".npz")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,300}")
_CKPT_DTYPES = {"Int8": "<i1", "UInt8": "<u1", "Int16": "<i2", "UInt16": "<u2", "Int32": "<i4", "UInt32": "<u4",
                "Int64": "<i8", "UInt64": "<u8", "Float16": "<f2", "Float32": "<f4", "Float64": "<f8", "Bool": "|b1"}
_MAX_RANK, _MAX_SIDE = 8, 2 ** 40  # of a weight, generously
_NPZ_METADATA = "metadata:"  # prefix of the members of an .npz file that hold metadata


def read_tensors(path: str | Path) -> tuple[Tensors, Metadata]:
    """Return ({name: array}, metadata) of a weights file, whose format follows from its suffix.

    Raises:
        InputError: not a file of that format, damaged, of unsupported types, or holding more than tensors and strings.
    """
    path = Path(path)
    tensors, metadata = _READERS[check_file(path)](path)
    for name in tensors:
        if not _NAME.fullmatch(name):
            raise InputError(f"{path}: {name!r:.80} is no name of a parameter; the file is not a weights file")
    return tensors, metadata


def check_file(path: str | Path) -> str:
    """The suffix of a weights file, which tells its format; the content is not read.

    Raises:
        InputError: no such file, a folder, an unknown suffix, or an empty file.
    """
    path = Path(path)
    suffix = ".pth" if path.suffix == ".pt" else path.suffix
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, give a file in it' if path.is_dir() else 'no such file'}")
    if suffix not in _READERS:
        raise InputError(f"{path}: suffix {path.suffix!r} is none of {', '.join(_READERS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; fetch it again")
    return suffix


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a weights file; its suffix is one of `WRITABLE`. It replaces an existing file once it is complete."""
    path = Path(path)
    if path.suffix not in WRITABLE:
        raise InputError(f"{path}: suffix {path.suffix!r} is none of {', '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} does not exist; create it first")
    with replacing(path) as unfinished:
        arrays = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}
        _WRITERS[path.suffix](unfinished, arrays, dict(metadata))
        unfinished.chmod(0o644)


# --- .ckpt: protocol buffers ------------------------------------------------------------------------------------------

def _read_ckpt(path: Path) -> tuple[Tensors, Metadata]:
    from google.protobuf.message import DecodeError

    content = path.read_bytes()
    if content[:2] == b"PK":
        raise InputError(f"{path}: this is a zip, perhaps of PyTorch; rename it to .pth if so")
    if content[-17:-10] == b"crc_num":  # MindSpore's check sum of all before it, where it was asked for
        if binascii.crc32(content[:-17]) != int.from_bytes(content[-10:], "big"):
            raise InputError(f"{path}: its check sum is wrong; fetch the file again")
        content = content[:-17]
    message = _checkpoint_message()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise InputError(f"{path}: not a MindSpore checkpoint, or truncated or encrypted; fetch it again") from error
    del content
    pieces: dict[str, tuple[list[int], str, list[bytes]]] = {}
    for value in message.value:  # a tensor above 512 MB comes in several pieces
        if not value.HasField("tensor"):
            raise InputError(f"{path}: {value.tag!r} is not a tensor (MindSpore's map parameters are not supported)")
        tensor = value.tensor
        pieces.setdefault(value.tag, (list(tensor.dims), tensor.tensor_type, []))[2].append(tensor.tensor_content)
    if not pieces:
        raise InputError(f"{path}: holds no tensors; fetch it again")
    tensors, metadata = {}, {}
    for name, (dims, kind, parts) in pieces.items():
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if kind == "str":
            metadata[name] = data.decode("utf-32-le", errors="replace")
        else:
            tensors[name] = _ckpt_array(path, name, dims, kind, data)
    return tensors, metadata


def _checkpoint_message() -> Any:
    """An empty protocol buffer of MindSpore's checkpoint format, without importing MindSpore, which takes seconds."""
    installed: Any = importlib.util.find_spec("mindspore")  # a requirement, so never None
    path = Path(installed.origin).parent / "train/checkpoint_pb2.py"
    spec: Any = importlib.util.spec_from_file_location("mindspore_checkpoint_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Checkpoint()


def _ckpt_array(path: Path, name: str, dims: list[int], kind: str, data: bytes) -> np.ndarray:
    if kind not in _CKPT_DTYPES:
        raise InputError(f"{path}: {name!r} has type {kind!r:.40}, which is none of {', '.join(_CKPT_DTYPES)}")
    dtype = np.dtype(_CKPT_DTYPES[kind])
    shape = () if dims == [0] and len(data) == dtype.itemsize else tuple(dims)  # a scalar is written as [0]
    if (min(shape, default=0) < 0 or len(shape) > _MAX_RANK or max(shape, default=0) > _MAX_SIDE
            or math.prod(shape) * dtype.itemsize != len(data)):
        raise InputError(f"{path}: {name!r} claims {dims!s:.80} {kind} and holds {len(data)} bytes; fetch the file "
                         "again")
    return np.frombuffer(data, dtype).reshape(shape)


def _write_ckpt(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    import mindspore as ms

    ms.save_checkpoint([{"name": name, "data": ms.Tensor(array)} for name, array in tensors.items()], str(path),
                       append_dict=metadata, crc_check=True)


# --- .safetensors -----------------------------------------------------------------------------------------------------

def _read_safetensors(path: Path) -> tuple[Tensors, Metadata]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a safetensors file, damaged, or of types that numpy does not have "
                         f"({error!s:.200})") from error


def _write_safetensors(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, path, metadata=metadata)


# --- .npz -------------------------------------------------------------------------------------------------------------

def _read_npz(path: Path) -> tuple[Tensors, Metadata]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_npz_member(path, archive, member)
        tensors, metadata = {}, {}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                array = file[name]
                if name.startswith(_NPZ_METADATA) and array.dtype.kind == "U":
                    metadata[name.removeprefix(_NPZ_METADATA)] = str(array)
                else:
                    tensors[name] = array
        return tensors, metadata
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError, TypeError, LookupError,
            SyntaxError, MemoryError, tokenize.TokenError) as error:  # numpy's reader of headers raises all of them
        raise InputError(f"{path}: not an .npz file of plain arrays, or damaged ({error!s:.200})") from error


def _check_npz_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array's header agrees with its member's size, and that its compression ratio is plausible."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {member.filename!r} is compressed in a way that numpy does not write; save it again "
                         "with np.savez")
    if member.file_size > max(100 * member.compress_size, 2 ** 20):
        raise InputError(f"{path}: {member.filename!r} unpacks {member.compress_size} bytes to {member.file_size}; "
                         "weights do not compress like this, it is not read")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject or dtype.kind not in "fiubU":
            raise InputError(f"{path}: {member.filename!r} holds {dtype}, not numbers; objects are not read")
        if min(shape, default=0) < 0 or len(shape) > _MAX_RANK or (
                math.prod(shape) * dtype.itemsize != member.file_size - file.tell()):
            raise InputError(f"{path}: {member.filename!r} claims {shape} {dtype} and holds "
                             f"{member.file_size - file.tell()} bytes; fetch the file again")


def _write_npz(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    np.savez(path, **tensors, **{f"{_NPZ_METADATA}{key}": np.array(text) for key, text in metadata.items()})


_READERS: dict[str, Callable[[Path], tuple[Tensors, Metadata]]] = {
    ".ckpt": _read_ckpt, ".pth": lambda path: (read_torch(path), {}), ".safetensors": _read_safetensors,
    ".npz": _read_npz}
_WRITERS: dict[str, Callable[[Path, Tensors, Metadata], None]] = {
    ".ckpt": _write_ckpt, ".safetensors": _write_safetensors, ".npz": _write_npz}
