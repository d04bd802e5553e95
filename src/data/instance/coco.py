"""Instance segmentation from an annotation file in COCO's layout: any categories, names and ids from the file.

One image of the file is one record; its id is the record's. The file can be trained from directly, or converted to
MindRecord (`src/data/records/mindrecord.py`) with the same records at the same sample ids. No MindSpore here.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from src.contract import InputError, Record
from src.data import decode
from src.data.checks import describe_bad
from src.data.instance.coco_check import DROPPED_PARTS, class_table, unknown_classes
from src.data.instance.coco_images import ImageFolder, file_names
from src.data.instance.coco_index import open_table
from src.data.instance.coco_layout import names_start_from
from src.data.instance.coco_select import select
from src.data.instance.target import class_names, encode_categories, encode_target

log = logging.getLogger(__name__)


class CocoDataset:
    """The images of an annotation file, in its order (a `src.contract.Dataset`).

    Attributes:
        name: the file's path.
        categories: the classes, by class index; `class_names` are their names, "background" first.
        bad: what `on_bad="skip"` left out, as "file: annotation or image: message".
        left_out: how many images that is, and how many annotations beside those of such images.
        image_ids: of the records, in their order.
        objects, crowds: how many objects, and regions with many of them, the records have.
    """

    def __init__(self, ann_file: str | Path, image_dir: str | Path, *, class_names: Sequence[str] = (),
                 class_map: str = "order", absent: Literal["error", "allow"] = "error",
                 others: Literal["leave_out", "keep"] = "leave_out", on_bad: Literal["error", "skip"] = "error",
                 needs_images: bool = True, how: decode.Decoding = decode.AS_STORED):
        """Read and check the whole file and look the images up; pixels are not read here.

        Args:
            ann_file: the annotation file.
            image_dir: the folder that its file names start from.
            class_names: names by class index, "background" first. None: all categories of the file.
            class_map, absent: see `coco_check.class_table`.
            others: what is done about objects of categories that are not in `class_names`, with a warning: "leave_out",
                or "keep" as classes behind the chosen ones, which nobody can find.
            on_bad: "error" raises on bad images and annotations; "skip" leaves bad annotations out of their images,
                images that are unusable themselves with all they hold, and keeps the messages in `bad`.
            how: image files are decoded: sizes that the file lacks are those of upright images under exif="turn".
            needs_images: False: image files are not looked for, and records hold no image.

        Raises:
            InputError: the file, its entries or the image folder are unusable.
        """
        self.name = str(ann_file)
        self._table = open_table(ann_file)
        self.categories = class_table(self._table.categories, ann_file, class_names=class_names, class_map=class_map,
                                      absent=absent)
        if others == "keep":
            self.categories += unknown_classes(self._table.categories, self._table.category_counts(), self.categories,
                                               ann_file)
        image_dir = str(image_dir)
        if needs_images:
            image_dir = names_start_from(image_dir, file_names(self._table.images))
        self._folder = ImageFolder(image_dir, self.name, how, is_needed=needs_images)
        self.bad: list[str] = []
        self._take()
        self.left_out = len(self._table.images) - len(self._images), self._selection.left_out
        self._check_usable(on_bad)
        self._categories = encode_categories(self.categories)

    def _take(self) -> None:
        """Look the images up and select their annotations; log and keep what is to be said about them."""
        images, bad = self._folder.checked(self._table.images)
        self._images = list(images.values())
        self._table.complete(images)
        self._by_id = {category.category_id: category for category in self.categories}
        known = {category["id"] for category in self._table.categories}
        self._selection = select(self._table, images, known=known, chosen=self._by_id, hint=self._hint)
        self.bad = [f"{self.name}: {message}" for message in [*bad, *self._selection.bad]]
        self.crowds = self._selection.crowds
        self.objects = len(self._selection.rows) - self.crowds
        if self._selection.others:
            log.warning("%s: %d annotations of categories outside coco_classes are left out (ids %s): they do not "
                        "count, and neither training nor AP knows of them", self.name,
                        self._selection.others.total(), sorted(self._selection.others))
        repairs = {"images without height and width have those of their files": self._folder.sized, DROPPED_PARTS: 0}
        said = "; ".join(f"{number} {what}" for what, number in (repairs | self._selection.repairs).items() if number)
        if said:
            log.warning("%s: %s", self.name, said)

    def _check_usable(self, on_bad: str) -> None:
        if self.bad and on_bad == "error":
            raise InputError(f"{describe_bad(self.bad, 'entries')}\nRepair them, or leave them out with --on_bad=skip: "
                             "the annotations alone, and images that are unusable themselves")
        if not self._images:
            raise InputError(f"{self.name}: no usable image is left\n{describe_bad(self.bad, 'entries')}")
        if self.bad and not (self.objects or self.crowds):
            raise InputError(f"{self.name}: no usable annotation is left\n{describe_bad(self.bad, 'entries')}")

    @property
    def image_dir(self) -> str:
        """The folder that the images' names start from."""
        return self._folder.path

    @property
    def class_names(self) -> tuple[str, ...]:
        return class_names(self.categories)

    @property
    def image_ids(self) -> list[int]:
        return [image["id"] for image in self._images]

    def __len__(self) -> int:
        return len(self._images)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order. Safe in several threads at once.

        Raises:
            InputError: an image cannot be read, or the annotation file is no longer the one that was checked.
        """
        for sample_id in sample_ids:
            record, _ = self.listed(sample_id)
            yield replace(record, image=self._folder.read(record.file_name, record.place))

    def listed(self, sample_id: int) -> tuple[Record, str]:
        """A record without the bytes of its image, and the path of that.

        Raises:
            InputError: the annotation file is no longer the one that was checked.
        """
        image = self._images[sample_id]
        record = Record(image["id"], image["file_name"], b"", self._target(sample_id),
                        f"{self.name}: image {image['id']}")
        return record, os.path.join(self.image_dir, record.file_name)

    def _target(self, sample_id: int) -> bytes:
        image, table = self._images[sample_id], self._table
        size = image["height"], image["width"]
        first, last = self._selection.first[sample_id:sample_id + 2]
        instances = [table.instance(row, size, self._by_id[int(table.rows["category_id"][row])])
                     for row in self._selection.rows[first:last]]
        return encode_target(image["id"], size, self._categories, f"[{','.join(instances)}]")

    def with_numbers(self, entry: Any) -> Any:
        """A detection in COCO's results format with numbers as ids, where this file and it have texts."""
        return self._table.tidy.annotation(entry)

    def unlisted(self) -> list[str]:
        """Names of the files in the image folder that no record uses, texts and annotations excepted."""
        return self._folder.others(image["file_name"] for image in self._images)

    def _hint(self, problem: str, file_name: str) -> str:
        return self._folder.exif_hint(file_name) if "outside its image" in problem else ""
