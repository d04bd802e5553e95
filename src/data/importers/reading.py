"""Reading a source's files: texts, JSON checked against a model, images looked up and measured.

Whatever is wrong with a file becomes an `InputError` that names it, the place in it, and a way out.
"""
from __future__ import annotations

import base64
import binascii
import io
import json
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np
import pydantic
from PIL import Image

from src.contract import InputError
from src.data import decode
from src.data.importers.pictures import Picture, Reading

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
OTHER_SUFFIXES = (".heic", ".heif", ".avif", ".gif")
_MOST_BYTES = 1 << 28  # of a mask inside of a JSON file, unpacked

Number = Annotated[float, pydantic.Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Side = Annotated[int, pydantic.Field(ge=1, le=65535)]
Point = tuple[Number, Number]


class Model(pydantic.BaseModel):
    """An object of a tool's JSON; keys that are not declared are ignored, numbers are taken as names."""

    model_config = pydantic.ConfigDict(coerce_numbers_to_str=True)


M = TypeVar("M", bound=pydantic.BaseModel)


def checked(model: type[M], content: Any, place: str | Path) -> M:
    """`content` as a `model`.

    Raises:
        InputError: something else; names the key.
    """
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        given = "" if first["type"] == "missing" else f" (it is {_short(first['input'])})"
        raise InputError(f"{place}: {where}: {first['msg'].lower()}{given}; export the annotations again or correct "
                         "the file") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def read_text(path: Path, *, fallback: str = "") -> str:
    """A text file in UTF-8, with or without a byte order mark, or else in the encoding `fallback`."""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}; restore the file") from error
    except UnicodeDecodeError as error:
        if fallback:
            return data.decode(fallback)
        raise InputError(f"{path}: not a text in UTF-8 (byte {error.start}); export it again") from error


def read_json(path: Path, *, fallback: str = "") -> Any:
    """The content of a JSON file; for `fallback` see `read_text`."""
    text = read_text(path, fallback=fallback)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg.lower()}); export it again, it "
                         "may be truncated") from error
    except ValueError as error:
        raise InputError(f"{path}: a number with thousands of digits; export it again") from error
    except RecursionError:
        raise InputError(f"{path}: lists or objects nested too deep; export it again") from None


def json_files(reading: Reading) -> Iterator[tuple[Path, Any]]:
    """The JSON files below the source and their contents; one that cannot be read is a fault of the source."""
    for path in files_below(reading.source, (".json",)):
        try:
            content = read_json(path)
        except InputError as error:
            reading.report.bad.append(str(error))
            continue
        yield path, content


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Entities that would grow without bounds are refused by the parser (expat)."""
    try:
        return ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}; restore the file") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"{path}: not XML ({error}); export it again, it may be truncated") from error
    except RecursionError:
        raise InputError(f"{path}: elements nested too deep; export it again") from None


def files_below(root: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files below `root` with one of the suffixes (lower case), sorted; hidden files and folders are left out."""
    suffixes, found = tuple(suffixes), []
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
        found += [Path(folder, name) for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
    return sorted(found)


class ImageIndex:
    """The images of a source, looked up as annotation files write them."""

    def __init__(self, reading: Reading, *, unreadable: Iterable[str] = OTHER_SUFFIXES):
        self.reading = reading
        self.paths = files_below(reading.source, IMAGE_SUFFIXES)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[path.name.lower()].append(path)
            self._by_stem[path.stem].append(path)
        for path in files_below(reading.source, unreadable):
            reading.report.note("images of a format that training does not read were not taken: convert them to JPEG "
                                "or PNG before labelling", reading.relative(path))

    def find(self, name: str, places: Iterable[Path], owner: str) -> Path:
        """The image that an annotation file calls `name`.

        Args:
            name: a path with slashes or backslashes, or the last part of an address; `%20` is a blank.
            places: folders to look into, the likeliest first. Where it is in none of them, the one image of the source
                with that file name is taken.
            owner: what names the image, for messages.

        Raises:
            InputError: there is no such image, or there are several.
        """
        inner = PurePosixPath(name.replace("\\", "/"))
        parts = [part for part in inner.parts if part not in ("..", ".", "/") and not part.endswith(":")]
        if not parts or not name.isprintable():
            raise InputError(f"{owner}: {name!r} names no image; correct the file")
        for variant in dict.fromkeys(("/".join(parts), unquote("/".join(parts)))):
            for place in places:
                if _is_file(place / variant):
                    return place / variant
            base = PurePosixPath(variant).name
            found = self._by_name.get(base.lower(), [])
            fitting = [path for path in found if path.as_posix().lower().endswith(f"/{variant.lower()}")]
            if len(fitting or found) == 1:
                return (fitting or found)[0]
            beside = next((place / base for place in places if place / base in found), None)
            if beside and not fitting:
                return beside
            if found:
                raise InputError(f"{owner}: {name}: there are {len(found)} images of that name "
                                 f"({', '.join(map(self.reading.relative, found[:3]))}); import each folder alone")
        raise InputError(f"{owner}: {name}: no such image below {self.reading.source}; put it beside the annotations, "
                         "or leave it out with --on_bad=skip")

    def of_stem(self, stem: str, near: Path) -> Path | None:
        """The image called `stem` in the folder `near`, else the only one of that stem; None where there is none."""
        found = self._by_stem.get(stem, [])
        beside = [path for path in found if path.parent == near]
        return beside[0] if beside else found[0] if len(found) == 1 else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_picture(reading: Reading, image: Path | bytes, name: str, place: str, *,
                 said: tuple[int, int] | None = None) -> Picture:
    """A picture of the image, without annotations yet; reads the image's header.

    Args:
        said: (H, W) that the annotation file gives, if it does. It tells whether a photo with an EXIF orientation was
            annotated upright or as stored; where it cannot, `options.exif` decides.

    Raises:
        InputError: no image, or its size is neither `said` nor that turned.
    """
    where = str(image) if isinstance(image, Path) else f"{place}: the image inside"
    try:
        with Image.open(image if isinstance(image, Path) else io.BytesIO(image)) as file:
            width, height = file.size
            if file.format == "PNG":  # it may stand behind the pixels
                orientation = decode.orientation(image if isinstance(image, bytes) else image.read_bytes())
            else:
                orientation = decode.orientation_of(file)
            is_upright = file.format == "TIFF"  # Pillow and OpenCV turn these, and say their size so
    except OSError as error:
        if error.filename and not isinstance(image, bytes):
            raise InputError(f"{where}: {error.strerror}; restore the file") from error
        raise InputError(f"{where}: not an image that can be read ({error}); restore it, or leave it out with "
                         "--on_bad=skip") from error
    except (ValueError, SyntaxError, TypeError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        raise InputError(f"{where}: not an image that can be read ({error}); restore it, or leave it out with "
                         "--on_bad=skip") from error
    stored = (height, width)
    upright = (width, height) if orientation >= 5 and not is_upright else stored
    as_stored = reading.options.exif == "raw" if upright == stored or said not in (upright, stored) else said == stored
    size = stored if as_stored else upright
    if orientation != 1:
        reading.report.note("photos have an EXIF orientation: they are written upright, without the tag" if not
                            as_stored else "photos have an EXIF orientation but were annotated as stored: the tag is "
                            "removed", name)
    if said is not None and said != size:
        exif = f" (EXIF orientation {orientation})" if orientation != 1 else ""
        raise InputError(f"{place}: says {said[1]}x{said[0]} (width x height), but {where} has "
                         f"{size[1]}x{size[0]}{exif}; put the image there that was annotated, or leave it out with "
                         "--on_bad=skip")
    return Picture(name, image, size, place, orientation, upright=not as_stored)


def decode_embedded(text: str, place: str, what: str = "image") -> bytes:
    """The bytes of base64 text inside of a JSON file."""
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{place}: the {what} inside is no base64 text ({error}); export it again") from error


def inflate(data: bytes, place: str) -> bytes:
    """Unpack zlib data; data that is not packed comes back as it is."""
    if data[:1] != b"\x78":
        return data
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise InputError(f"{place}: the mask inside is damaged ({error}); export it again") from error
    if not unpacker.eof:
        raise InputError(f"{place}: the mask is truncated or larger than {_MOST_BYTES >> 20} MiB; export it again")
    return content


def decode_mask(data: bytes, place: str) -> np.ndarray:
    """(H, W) bool of a mask's PNG: alpha where it has an alpha channel, else all that is not 0."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise InputError(f"{place}: the mask inside is no PNG; export it again")
    if pixels.ndim == 3:
        pixels = pixels[..., 3] if pixels.shape[2] == 4 else pixels.max(2)
    return pixels > 0


def read_index_map(path: Path, table: np.ndarray | None = None) -> np.ndarray:
    """(H, W) uint8 of a label file that holds an index at each pixel, renumbered by `table` (256,).

    Raises:
        InputError: missing, damaged, or colours instead of indices.
    """
    try:
        label = decode.decode_label(path.read_bytes(), advice="export index masks")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; restore the file, or leave its image out with --on_bad=skip"
                         ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return label if table is None else table[label]


def label_size(path: Path) -> tuple[int, int]:
    """(H, W) of a label file's header."""
    try:
        return decode.header_size(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; restore the file") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
