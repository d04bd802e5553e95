"""A digest of everything that a cell holds and refers to, the same in every process for the same cell."""
from __future__ import annotations

import enum
import hashlib
import inspect
import logging
import re
import types
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mindspore.nn as nn
import numpy as np
from mindspore import Parameter, Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic, np.dtype, slice, range)
ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
# What MindSpore notes in a cell of this process: numbers of instances, phases, what was compiled or looked up before.
OF_THE_PROCESS = {"_create_time", "_id", "arguments_key", "_compile_cache", "_phase_cache", "_compile_phase",
                  "compile_phase", "current_phase", "_jit_graph_name", "_compiled", "_exist_objs", "_exist_names",
                  "_init_flag", "_is_check_and_refresh", "_lazy_user_parameters", "_lazy_construct_sig", "_scope",
                  "_params_list", "_primitives", "is_top_cell", "instance_name", "total_instance_count", "grad_fn",
                  "_attr_synced", "__parse_method__", "_cell_init_args", "hash_obj"}


class Unknown(TypeError):
    """Something that a digest cannot be made of; its graph is not cached."""


def fingerprint(cell: nn.Cell) -> str:
    """SHA-256 of a cell: classes, attributes, constants, functions and the names, types and shapes of its parameters.

    Parameters count without their values, which are no part of a graph. A function counts with its code, its closure
    and the module-level values that it names.

    Raises:
        Unknown: an object without a representation that is the same in every process.
    """
    digest = hashlib.sha256()
    for part in _Walk().parts(cell, type(cell).__name__):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


class _Walk:
    """Depth-first, each object once: later occurrences refer to the first by its number."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no address is used twice

    def parts(self, thing: Any, place: str) -> Iterator[str]:
        if isinstance(thing, PLAIN):
            yield f"{type(thing).__name__}:{thing!r}"
            return
        if type(thing) is not tuple:  # equal tuples may be one object or two; they can hold no cycle by themselves
            if id(thing) in self.seen:
                yield f"again:{self.seen[id(thing)]}"
                return
            self.seen[id(thing)] = len(self.seen)
            self.kept.append(thing)
        yield f"{type(thing).__module__}.{type(thing).__qualname__}"
        yield from self.inside(thing, place)

    def inside(self, thing: Any, place: str) -> Iterator[str]:
        if isinstance(thing, Parameter):
            yield f"{thing.name} {thing.shape} {thing.dtype} {thing.requires_grad}"
        elif isinstance(thing, (Tensor, np.ndarray)):
            yield from self.array(thing.asnumpy() if isinstance(thing, Tensor) else thing, place)
        elif isinstance(thing, enum.Enum):
            yield thing.name
        elif isinstance(thing, Mapping):
            yield from self.mapping(thing, place)
        elif isinstance(thing, (list, tuple)):
            yield str(len(thing))
            for number, value in enumerate(thing):
                yield from self.parts(value, f"{place}[{number}]")
        elif isinstance(thing, (set, frozenset)):
            yield from sorted(repr(list(_Walk().parts(value, place))) for value in thing)
        elif isinstance(thing, (types.ModuleType, logging.Logger)):
            yield getattr(thing, "__name__", "logger")
        elif isinstance(thing, type):
            yield from self.cls(thing, place)
        elif isinstance(thing, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial)):
            yield from self.function(thing, place)
        elif isinstance(thing, types.CodeType):
            yield from self.code(thing, place)
        else:
            yield from self.instance(thing, place)

    def array(self, array: np.ndarray, place: str) -> Iterator[str]:
        if array.dtype.hasobject:
            raise Unknown(f"{place}: an array of objects")
        yield f"{array.dtype} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"

    def mapping(self, thing: Mapping, place: str) -> Iterator[str]:
        """In the order of the keys where they have one, as a cell's attributes may be set in any."""
        names = list(thing)
        if all(isinstance(name, str) for name in names) and type(thing) is dict:
            names.sort()
        for name in names:
            yield from self.parts(name, place)
            yield from self.parts(thing[name], f"{place}.{name}")

    def cls(self, thing: type, place: str) -> Iterator[str]:
        """A class of MindSpore or Python by its name, another one with its methods and values."""
        yield f"{thing.__module__}.{thing.__qualname__}"
        if _installed(thing):
            return
        for base in thing.__bases__:
            yield from self.parts(base, f"{place}<{base.__name__}>")
        for name, value in sorted(vars(thing).items()):
            if not name.startswith("__") or inspect.isfunction(value):
                value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                value = (value.fget, value.fset) if isinstance(value, property) else value
                yield name
                if name != "_abc_impl":
                    yield from self.parts(value, f"{place}.{name}")

    def function(self, thing: Any, place: str) -> Iterator[str]:
        if isinstance(thing, partial):
            yield from self.parts([thing.func, list(thing.args), dict(thing.keywords)], place)
            return
        yield f"{thing.__module__}.{thing.__qualname__}"
        if isinstance(thing, types.BuiltinFunctionType):
            return
        if isinstance(thing, types.MethodType):
            yield from self.parts(thing.__self__, f"{place}.__self__")
            thing = thing.__func__
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or ()):
            if name not in OF_THE_PROCESS:
                yield from self.parts(_content(cell), f"{place}.{name}")
        if not _installed(thing):
            yield from self.parts([thing.__code__, thing.__defaults__, thing.__kwdefaults__], place)
            for name in sorted(_names(thing.__code__)):
                if name in thing.__globals__:
                    yield from self.parts(thing.__globals__[name], f"{thing.__module__}.{name}")

    def code(self, thing: types.CodeType, place: str) -> Iterator[str]:
        yield f"{thing.co_code.hex()} {thing.co_names} {thing.co_varnames} {thing.co_freevars}"
        for constant in thing.co_consts:
            yield from self.parts(constant, place)

    def instance(self, thing: Any, place: str) -> Iterator[str]:
        if not _installed(type(thing)):
            yield from self.parts(type(thing), place)
        values = dict(getattr(thing, "__dict__", {}))
        for cls in type(thing).__mro__:
            slots = vars(cls).get("__slots__", ())
            values |= {name: getattr(thing, name) for name in ((slots,) if isinstance(slots, str) else slots)
                       if hasattr(thing, name) and name not in ("__dict__", "__weakref__")}
        for name in ("attrs", "init_attrs"):  # of operators, on MindSpore's C++ side
            if isinstance(value := getattr(thing, name, None), Mapping):
                values[name] = dict(value)
        values = {name: value for name, value in values.items()
                  if name not in OF_THE_PROCESS and (not name.startswith("_lazy") or value)}  # made when looked at
        if values:
            yield from self.mapping(values, place)
        elif ADDRESS.search(repr(thing)) and not hasattr(thing, "__dict__"):
            raise Unknown(f"{place}: a {type(thing).__name__}")
        elif not ADDRESS.search(repr(thing)):
            yield repr(thing)


def _installed(thing: Any) -> bool:
    """Whether code belongs to an installed package, to Python or to this cache: a version or a hash stands for it."""
    if thing.__module__.startswith(__package__):
        return True
    try:
        file = inspect.getfile(thing)
    except (TypeError, OSError):
        return thing.__module__ != "__main__"
    return "site-packages" in file or "dist-packages" in file or file.startswith((str(Path(inspect.__file__).parent),
                                                                                 "<"))


def _names(code: types.CodeType) -> set[str]:
    """Names that a function looks up, those of the functions inside it too."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None
