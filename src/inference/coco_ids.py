"""COCO ids of the images and classes that are predicted, from an annotation file."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from src.contract import InputError
from src.data.instance.coco_check import is_id
from src.data.instance.coco_index import open_table
from src.inference.collecting import Input


class CocoIds:
    """The ids of an annotation file.

    Raises:
        InputError: no annotation file.
    """

    def __init__(self, ann_file: str):
        table = open_table(ann_file)
        self.ann_file = ann_file
        self._images: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for entry in table.images:
            if isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and is_id(entry.get("id")):
                parts = PurePosixPath(entry["file_name"]).parts
                self._images.setdefault(parts[-1] if parts else "", []).append((parts, entry["id"]))
        self._categories = {entry["name"]: entry["id"] for entry in table.categories if isinstance(entry, dict)
                            and is_id(entry.get("id")) and isinstance(entry.get("name"), str)}

    def images(self, inputs: Sequence[Input]) -> dict[str, int]:
        """Image id by file_name, of the inputs whose path ends with a file_name of the annotations.

        Raises:
            InputError: two inputs are the same image of the annotations.
        """
        ids: dict[str, int] = {}
        owners: dict[int, Input] = {}
        for one in inputs:
            image_id = self._image_id(one)
            if image_id is None:
                continue
            if image_id in owners:
                raise InputError(f"{one.path} and {owners[image_id].path}: both are image {image_id} of "
                                 f"{self.ann_file}, by their names; predict one of them")
            ids[one.file_name], owners[image_id] = image_id, one
        return ids

    def _image_id(self, one: Input) -> int | None:
        path = one.path.absolute().parts
        fitting = [(len(parts), image_id) for parts, image_id in self._images.get(path[-1], ())
                   if path[-len(parts):] == parts]
        return max(fitting)[1] if fitting else None

    def categories(self, class_names: Sequence[str], own: Sequence[int]) -> list[int]:
        """Category id by class index: the annotations' id of the class of that name, else the model's own.

        If the annotations give the model's own id to another class, an unused number replaces it.
        """
        taken = {*self._categories.values()}
        free = max({*taken, *own}, default=0) + 1
        ids = []
        for name, number in zip(class_names, own):
            if name not in self._categories and number in taken and ids:  # the first is the background
                number, free = free, free + 1
            ids.append(self._categories.get(name, number) if ids else 0)
        return ids
