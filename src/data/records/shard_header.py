"""The header of a MindRecord file: its length and a JSON text, at the start of every shard.

It can be read quickly and without MindSpore, and says whether a file is a MindRecord, which shards belong together,
how many rows each has and whether one is truncated. The layout is that of MindSpore's `FileWriter`, version "3.0".
"""
from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.contract import InputError

_LENGTH = struct.Struct("<Q")
_LARGEST = 128 << 20


def read_header(path: Path) -> dict[str, Any]:
    """Read and check one shard's header.

    Raises:
        InputError: missing, not a MindRecord, cut short, or without its index file.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(_LENGTH.size)
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else _LARGEST + 1
            header: Any = json.loads(file.read(length)) if length <= _LARGEST else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such record file; build it with src/tools/build_seg_data.py") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the path of a record file in it") from None
    except ValueError:
        header = None
    try:
        header["page"] = header["page"] or []  # null in a shard without rows
        last = max((page["page_id"] for page in header["page"]), default=-1)
        expected = header["header_size"] + last * header["page_size"]
        complete = bool(header["shard_addresses"]) and row_count(header) >= 0 and isinstance(fields(header), set)
    except (KeyError, TypeError):
        complete = False
    if not complete:
        raise InputError(f"{path}: not a MindRecord file, or its header is damaged; give the dst_path of a build, or "
                         "build the records again")
    if last >= 0 and path.stat().st_size <= expected:
        raise InputError(f"{path}: cut short ({path.stat().st_size} bytes, more than {expected} expected); remove it "
                         "and build the records again")
    if not path.with_name(path.name + ".db").is_file():
        raise InputError(f"{path}: its index {path.name}.db is missing; copy it too, or build the records again")
    return header


def row_count(header: dict[str, Any]) -> int:
    """Rows of the shard that the header belongs to."""
    return max((page["end_row_id"] for page in header["page"] if page["page_type"] == "BLOB_DATA"), default=0)


def fields(header: dict[str, Any]) -> set[str]:
    """Names of the columns."""
    return {name for schema in header["schema"] for name in schema["schema"]}


def set_addresses(path: Path, names: Sequence[str], index: int) -> None:
    """Mark a shard that was written on its own as number `index` of `names`.

    MindSpore's own `MindDataset(first shard)` then finds all of them, as if one `FileWriter` had written them.
    """
    with open(path, "r+b") as file:
        header = json.loads(file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0]))
        header |= {"shard_addresses": list(names), "shard_id": index}
        for page in header["page"] or []:
            page["shard_id"] = index
        text = json.dumps(header, separators=(",", ":")).encode()
        if _LENGTH.size + len(text) > header["header_size"]:
            raise InputError(f"{path}: {len(names)} shard names do not fit into the file's header; use fewer shards")
        file.seek(0)
        file.write(_LENGTH.pack(len(text)) + text)
