"""The entries of `images` of an annotation file, checked and looked up in a folder. No MindSpore here."""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from src.contract import InputError
from src.data import decode
from src.data.instance import coco_check
from src.data.near_match import near_match

_UNKNOWN = (None, 0, -1)  # heights and widths
_ANY_SIZE = {"height": 1, "width": 1}
_NO_IMAGES = ("", ".json", ".txt", ".md", ".xml", ".csv", ".yaml", ".yml", ".db")


class ImageFolder:
    """The folder of an annotation file's images.

    Attributes:
        sized: how many images have the size of their files, because their entries say none.
    """

    def __init__(self, path: str, ann_file: str, how: decode.Decoding, *, is_needed: bool):
        """
        Args:
            path: the folder.
            ann_file: the annotation file, for messages.
            how: image files are decoded.
            is_needed: False: nothing is looked up in it but the sizes that entries lack.
        """
        self.path = path
        self.ann_file = ann_file
        self.how = how
        self.is_needed = is_needed
        self.sized = 0
        self._files: dict[str, set[str]] = {}

    def checked(self, entries: Iterable[Any]) -> tuple[dict[int, dict], list[str]]:
        """The usable entries of `images` by their positions in it, and what is wrong with the others.

        An entry without height and width has those of its file.
        """
        good: dict[int, dict] = {}
        bad: list[str] = []
        owners: dict[str, int | None] = {}
        for row, (what, image_id, entry, problem) in enumerate(coco_check.image_entries(map(self._sized, entries))):
            if problem and problem.endswith(coco_check.LEAVES_FOLDER):
                near = self._near(entry["file_name"])
                problem = f"{problem}: {near.replace(' does', ' exists', 1)}" if near else problem
            if problem and not self.is_needed and problem.endswith(coco_check.SIDE):
                problem += ", or --image_dir has to name the folder of the image files, which say it"
            problem = problem or self._missing(entry["file_name"])
            if not problem:
                owner = owners.setdefault(os.path.normpath(entry["file_name"]), image_id)
                if owner != image_id:
                    problem = f"{entry['file_name']} is image {owner} too; remove one of the entries"
            if problem:
                bad.append(f"{what}: {problem}")
            else:
                good[row] = entry
        return good, bad

    def read(self, file_name: str, place: str) -> bytes:
        """The bytes of an image file, b"" where none are needed; InputError, after `place`, where it has none."""
        return self._bytes(file_name, place) if self.is_needed else b""

    def _bytes(self, file_name: str, place: str) -> bytes:
        path = os.path.join(self.path, file_name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise InputError(f"{place}: {path}: {error.strerror}; restore the file") from error
        if not data:
            raise InputError(f"{place}: {path} is empty (0 bytes); restore the file")
        return data

    def exif_hint(self, file_name: str) -> str:
        """What to say of an image's orientation where something lies outside it."""
        try:
            return decode.exif_hint(self.read(file_name, ""))
        except InputError:
            return ""  # said where the image is read

    def others(self, file_names: Iterable[str]) -> list[str]:
        """Names of the files in the folder but `file_names`, texts and annotations."""
        present = {entry.name for entry in os.scandir(self.path) if _is_file(entry)
                   and not entry.name.startswith(".") and Path(entry.name).suffix.lower() not in _NO_IMAGES}
        return sorted(present - set(map(os.path.normpath, file_names)))

    def _sized(self, entry: Any) -> Any:
        """The entry with the height and width of its file where it lacks one of them (or has VIA's -1)."""
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            return entry
        said = [entry.get(side) for side in ("height", "width")]
        if not any(side in _UNKNOWN for side in said):
            return entry
        if coco_check.image_problem(entry | _ANY_SIZE) or self._missing(entry["file_name"]):
            return entry
        try:
            height, width = decode.header_size(self._bytes(entry["file_name"], ""), self.how)
        except InputError:
            return entry  # the message about the entry, or later about the file, says it
        if any(side not in (*_UNKNOWN, own) for side, own in zip(said, (height, width))):
            return entry
        self.sized += 1
        return entry | {"height": height, "width": width}

    def _missing(self, file_name: str) -> str | None:
        """What is to be said where the folder is needed and does not have the file."""
        if not self.is_needed:
            return None
        folder, name = os.path.split(os.path.join(self.path, file_name))
        if name in self._listing(folder):
            return None
        return f"{os.path.join(folder, name)} does not exist or is no file; " + \
            (self._near(file_name) or "restore it, or check the image folder")

    def _near(self, file_name: str) -> str:
        return near_match(self.path, file_name, self._listing) if self.is_needed else ""

    def _listing(self, folder: str) -> set[str]:
        """Names of the files in a folder: one listing is faster than asking for every file."""
        if folder not in self._files:
            try:
                self._files[folder] = {entry.name for entry in os.scandir(folder) if _is_file(entry)}
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and folder == self.path.rstrip("/"):
                    raise InputError(f"{folder}: {error.strerror}; it must be the folder that the file names of "
                                     f"{self.ann_file} start from") from error
                self._files[folder] = set()
        return self._files[folder]


def file_names(entries: Sequence[Any]) -> list[str]:
    """The names of the entries of `images` that have a possible one."""
    return [entry["file_name"] for entry in entries if isinstance(entry, dict)
            and isinstance(entry.get("file_name"), str) and coco_check.image_problem(entry | _ANY_SIZE) is None]


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False
