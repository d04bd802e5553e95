"""Read the tensors that a pickle describes, without executing the pickle.

A pickle is a program that may call anything. Here its instructions are read one by one: those that build tuples, lists,
dictionaries and numbers are followed, the few calls that rebuild a tensor are recorded as data, and everything else is
refused. Protocols 2 to 5 are read.

`pickle.Unpickler` with an allow-list in `find_class` would prevent calls, but not waste: a memo index of 2**26 in a
pickle of 9 bytes makes it allocate 1 GiB, and 60 nested tuples as a name (200 bytes) keep it hashing for years.
"""
from __future__ import annotations

import pickletools
import re
from pathlib import Path
from typing import Any, NamedTuple

from src.contract import InputError

WAY_OUT = "save it again with torch.save(model.state_dict(), path)"
_DTYPES = {"torch FloatStorage": "<f4", "torch DoubleStorage": "<f8", "torch HalfStorage": "<f2",
           "torch LongStorage": "<i8", "torch IntStorage": "<i4", "torch ShortStorage": "<i2",
           "torch CharStorage": "<i1", "torch ByteStorage": "<u1", "torch BoolStorage": "|b1"}
_REBUILD, _PARAMETER, _DICT = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter",
                               "collections OrderedDict")
_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Global(NamedTuple):
    name: str


class Storage(NamedTuple):
    key: str
    dtype: str
    size: int  # in values


class TensorSpec(NamedTuple):
    """What a pickle says about a tensor; offset, shape and strides are not checked yet and may be of any type."""

    storage: Storage
    offset: Any
    shape: Any
    strides: Any


def load_pickle(path: Path, stream: Any) -> Any:
    """Read the next pickle in `stream` (a binary file or a memory map); its tensors become `TensorSpec`s.

    Raises:
        InputError: the pickle is truncated, damaged, or describes more than tensors.
    """
    reader = _PickleReader()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return reader.stack.pop()
            reader.follow(opcode.name, argument)
    except _Refused as error:
        raise InputError(f"{path}: {error}; only tensors are read, nothing was executed; {WAY_OUT}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: its description of tensors is damaged ({error!s:.100}); {WAY_OUT}") from error
    raise InputError(f"{path}: its description of tensors is truncated; fetch the file again")


class _Refused(Exception):
    pass


class _PickleReader:
    """The stack and the memo of a pickle machine that can neither import nor call."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction; `_Refused` where it is not one that tensors need."""
        push = self.stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _VALUES:
            push(_VALUES[name])
        elif name in _TUPLES:
            push(tuple(self._take(_TUPLES[name])))
        elif name == "TUPLE":
            push(tuple(self._take_marked()))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            push({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items(self._take(2) if name == "SETITEM" else self._take_marked())
        elif name in ("APPEND", "APPENDS"):
            items = self._take(1) if name == "APPEND" else self._take_marked()
            self._top(list).extend(items)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            push(self.memo[argument])
        elif name == "GLOBAL":
            push(_global(argument))
        elif name == "STACK_GLOBAL":
            push(_global(" ".join(self._take(2))))
        elif name == "REDUCE":
            push(_note_call(*self._take(2)))
        elif name == "BUILD":  # attributes of a state dict (versions of its modules): not used
            self._take(1)
            self._top(dict)
        elif name == "BINPERSID":
            push(_note_storage(self.stack.pop()))
        elif name not in ("PROTO", "FRAME"):  # a frame is a hint for reading ahead
            raise _Refused(f"the pickle holds the instruction {name}, which tensors do not need")

    def _take(self, count: int) -> list[Any]:
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise ValueError("its stack is empty")
        items = self.stack[len(self.stack) - count:]
        del self.stack[len(self.stack) - count:]
        return items

    def _take_marked(self) -> list[Any]:
        items = self._take(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return items

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} belongs")
        return self.stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):
                raise TypeError(f"a {type(key).__name__} as a name")
            self._top(dict)[key] = value


def _global(name: str) -> _Global:
    if name == "torch BFloat16Storage":
        raise _Refused("tensors of bfloat16, which numpy lacks; convert every value v of the state dict with v.float()")
    if name not in (_REBUILD, _PARAMETER, _DICT, *_DTYPES):
        raise _Refused(f"the pickle would call {name.replace(' ', '.'):.100}")
    return _Global(name)


def _note_call(function: Any, arguments: Any) -> Any:
    if type(function) is _Global and type(arguments) is tuple:
        if function.name == _DICT and not arguments:
            return {}
        if function.name == _PARAMETER and arguments:
            return arguments[0]
        if function.name == _REBUILD and len(arguments) >= 4 and type(arguments[0]) is Storage:
            return TensorSpec(*arguments[:4])
    raise TypeError("a call that does not rebuild a tensor")


def _note_storage(reference: Any) -> Storage:
    if type(reference) is not tuple or len(reference) not in (5, 6) or reference[5:] not in ((), (None,)):
        raise TypeError("a persistent reference that is not a storage")
    kind, dtype, key, _, count = reference[:5]
    if kind != "storage" or type(dtype) is not _Global or dtype.name not in _DTYPES:
        raise TypeError("a storage of an unknown type")
    if type(key) is not str or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", key) or type(count) is not int or count < 0:
        raise TypeError("a storage with a strange name or size")
    return Storage(key, _DTYPES[dtype.name], count)
