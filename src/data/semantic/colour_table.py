"""Colours of RGB labels as class indices: VOC's own, or those of CVAT's `labelmap.txt`. No MindSpore here."""
from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.contract import InputError
from src.data import decode
from src.data.class_names import is_background

FILE_NAME = "labelmap.txt"
_PNG = b"\x89PNG"
_IGNORED = 255
_BORDER = (224, 224, 192)  # VOC's colour of what does not count
_LINE = re.compile(r"(?P<name>[^:]+):(?P<colour>\d+\s*,\s*\d+\s*,\s*\d+)(:.*)?")
_ADVICE = "save it as a palette or RGB PNG in the colours of the table, or as a gray PNG of class indices"


@dataclass(frozen=True)
class ColourTable:
    """Where the table comes from, (r, g, b) -> class index, and the names by class index where the table has them."""

    place: str
    index: Mapping[tuple[int, ...], int]
    class_names: tuple[str, ...] = ()

    def indices(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class indices of a label file; a gray one holds them itself.

        Raises:
            InputError: undecodable, or a colour that the table does not have.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; restore the file") from error
        try:
            if not data.startswith(_PNG) or data[25:26] in (b"\0", b"\4"):  # no PNG, or a gray one, perhaps with alpha
                return decode.decode_label(data, advice=_ADVICE)
            decode.decode_image(data)  # says what is wrong with damaged files
            with Image.open(io.BytesIO(data)) as file:
                pixels = np.asarray(file.convert("RGB")).astype(np.int32)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        codes, inverse = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2], return_inverse=True)
        colours = [tuple(code.to_bytes(3, "big")) for code in codes.tolist()]
        foreign = [colour for colour in colours if colour not in self.index and colour != _BORDER]
        if foreign:
            way_out = "; add it there, or correct the label" if self.class_names else ""
            raise InputError(f"{path}: colour {foreign[0]} is not in {self.place}{way_out}")
        return np.array([self.index.get(colour, _IGNORED) for colour in colours], np.uint8)[inverse].reshape(
            pixels.shape[:2])


def read_labelmap(path: Path) -> ColourTable:
    """CVAT's `labelmap.txt`, lines `name:r,g,b:parts:actions`: the classes in its order, "background" first.

    Raises:
        InputError: unreadable, a line of another form, or a name or colour that is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable ({error}); restore the file, or remove it") from error
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        colour = tuple(int(part) for part in found["colour"].split(",")) if found else ()
        if not found or max(colour) > 255:
            raise InputError(f"{path}:{number}: {line!r}: a line is name:r,g,b:parts:actions, with numbers 0..255")
        if found["name"] in rows or colour in rows.values():
            raise InputError(f"{path}:{number}: {line!r}: the name or the colour is there twice; each class needs its "
                             "own")
        rows[found["name"]] = colour
    if len(rows) < 2 or len(rows) > _IGNORED:
        raise InputError(f"{path}: {len(rows)} classes; expected 2..{_IGNORED}, background included")
    names = sorted(rows, key=lambda name: not is_background(name))
    return ColourTable(str(path), {rows[name]: index for index, name in enumerate(names)}, tuple(names))
