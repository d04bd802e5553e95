"""Instance segmentation from an annotation file in COCO's layout: any categories, names and ids from the file.

One image of the file is one record; its id is the record's. The file can be trained from directly, or converted to
MindRecord (`src/data/records/mindrecord.py`) with the same records at the same sample ids. No MindSpore here.
"""
from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from src.contract import InputError, Record
from src.data import decode
from src.data.checks import describe_bad
from src.data.instance import coco_check
from src.data.instance.coco_layout import names_start_from
from src.data.instance.target import Category, class_names, encode_categories, encode_instances, encode_target
from src.data.near_match import near_match
from src.wording import some

log = logging.getLogger(__name__)
_NO_IMAGES = ("", ".json", ".txt", ".md", ".xml", ".csv", ".yaml", ".yml", ".db")
_ANY_SIZE = {"height": 1, "width": 1}


@dataclass(frozen=True)
class _Image:
    """One image: its id, file name, (H, W) and the text of its instances."""

    image_id: int
    file_name: str
    size: tuple[int, int]
    instances: str


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
        self.image_dir = str(image_dir)
        self._needs_images = needs_images
        self.how = how
        self.bad: list[str] = []
        content = coco_check.read_annotations(ann_file)
        self.categories = coco_check.class_table(content["categories"], ann_file, class_names=class_names,
                                                 class_map=class_map, absent=absent)
        if others == "keep":
            self.categories += coco_check.unknown_classes(content, self.categories, ann_file)
        if needs_images:
            self.image_dir = names_start_from(self.image_dir, _file_names(content["images"]))
        reader = _Reader(self, {category["id"] for category in content["categories"]}, needs_images)
        self._images = reader.images(content["images"], content["annotations"])
        self.objects = reader.counts[0]
        self.crowds = reader.counts[1]
        self.left_out = len(content["images"]) - len(self._images), reader.annotations_left_out
        if self.bad and on_bad == "error":
            raise InputError(f"{describe_bad(self.bad, 'entries')}\nRepair them, or leave them out with --on_bad=skip: "
                             "the annotations alone, and images that are unusable themselves")
        if not self._images:
            raise InputError(f"{self.name}: no usable image is left\n{describe_bad(self.bad, 'entries')}")
        if self.bad and not (self.objects or self.crowds):
            raise InputError(f"{self.name}: no usable annotation is left\n{describe_bad(self.bad, 'entries')}")
        self._categories = encode_categories(self.categories)

    @property
    def class_names(self) -> tuple[str, ...]:
        return class_names(self.categories)

    @property
    def image_ids(self) -> list[int]:
        return [image.image_id for image in self._images]

    def __len__(self) -> int:
        return len(self._images)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order. Safe in several threads at once."""
        for sample_id in sample_ids:
            image = self._images[sample_id]
            place = f"{self.name}: image {image.image_id}"
            target = encode_target(image.image_id, image.size, self._categories, image.instances)
            yield Record(image.image_id, image.file_name, self._read(image.file_name, place), target, place)

    def unlisted(self) -> list[str]:
        """Names of the files in the image folder that no record uses, texts and annotations excepted."""
        present = {entry.name for entry in os.scandir(self.image_dir) if _is_file(entry)
                   and not entry.name.startswith(".") and Path(entry.name).suffix.lower() not in _NO_IMAGES}
        return sorted(present - {os.path.normpath(image.file_name) for image in self._images})

    def _read(self, file_name: str, place: str) -> bytes:
        if not self._needs_images:
            return b""
        path = os.path.join(self.image_dir, file_name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise InputError(f"{place}: {path}: {error.strerror}; restore the file") from error
        if not data:
            raise InputError(f"{place}: {path} is empty (0 bytes); restore the file")
        return data


class _Reader:
    """Turns the entries of an annotation file into images, and what is wrong with them into messages."""

    def __init__(self, dataset: CocoDataset, known: set[int], needs_images: bool):
        self.dataset = dataset
        self.known = known
        self.needs_images = needs_images
        self.by_category = {category.category_id: category for category in dataset.categories}
        self.seen_annotations: set[int] = set()
        self.seen_images: set[int] = set()
        self.annotations_left_out = 0
        self.counts: Counter[int] = Counter()  # iscrowd -> instances
        self.other_categories: Counter[int] = Counter()
        self.repairs: Counter[str] = Counter()
        self.folders: dict[str, set[str]] = {}

    def images(self, entries: Sequence[Any], annotations: Sequence[Any]) -> list[_Image]:
        by_id, images = self._image_entries(entries), []
        grouped = self._grouped(annotations, by_id)
        for image_id, entry in by_id.items():
            size = (entry["height"], entry["width"])
            instances = self._instances(grouped.pop(image_id, ()), size, entry["file_name"])
            images.append(_Image(image_id, entry["file_name"], size, encode_instances(instances)))
        if self.other_categories:
            log.warning("%s: %d annotations of categories outside coco_classes are left out (ids %s): they do not "
                        "count, and neither training nor AP knows of them", self.dataset.name,
                        self.other_categories.total(), sorted(self.other_categories))
        repairs = "; ".join(f"{number} {what}" for what, number in self.repairs.items() if number)
        if repairs:
            log.warning("%s: %s", self.dataset.name, repairs)
        return images

    def _image_entries(self, entries: Sequence[Any]) -> dict[int, dict]:
        """Good entries of `images` by id, with the size of the file where the entry has none."""
        good: dict[int, dict] = {}
        names: dict[str, int | None] = {}
        for what, image_id, entry, problem in coco_check.image_entries(map(self._sized, entries)):
            if image_id is not None:
                self.seen_images.add(image_id)
            problem = problem or (self._missing(entry["file_name"]) if self.needs_images else None)
            if not problem:
                first = names.setdefault(os.path.normpath(entry["file_name"]), image_id)
                if first != image_id:
                    problem = f"{entry['file_name']} is image {first} too; remove one of the entries"
            if problem:
                self._bad(what, problem)
            elif image_id is not None:
                good[image_id] = entry
        return good

    def _sized(self, entry: Any) -> Any:
        """The entry with the height and width of its file where it says none (or VIA's -1)."""
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or \
                any(entry.get(side) not in (None, 0, -1) for side in ("height", "width")):
            return entry
        if not self.needs_images or coco_check.image_problem(entry | _ANY_SIZE) or \
                self._missing(entry["file_name"]):
            return entry
        try:
            with open(os.path.join(self.dataset.image_dir, entry["file_name"]), "rb") as file:
                height, width = decode.header_size(file.read(), self.dataset.how)
        except (InputError, OSError):
            return entry  # the message about the entry, or later about the file, says it
        self.repairs["images without height and width have those of their files"] += 1
        return entry | {"height": height, "width": width}

    def _grouped(self, annotations: Sequence[Any], images: dict[int, dict]) -> dict[int, list[dict]]:
        """Annotations by image; those of images that are bad themselves are left out with them."""
        groups: dict[int, list[dict]] = defaultdict(list)
        astray: dict[str, list[str]] = defaultdict(list)
        for position, annotation in enumerate(annotations):
            image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
            known = coco_check.is_id(image_id)
            if known and image_id in images:
                groups[image_id].append(annotation)
            elif not known or image_id not in self.seen_images:
                name = f"annotation {annotation['id']!r}" if isinstance(annotation, dict) and "id" in annotation else \
                    f"annotations[{position}]"
                astray[coco_check.no_such_image(image_id)].append(name)
        for problem, names in astray.items():
            self._bad(names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else ""), problem)
            self.annotations_left_out += len(names)
        return groups

    def _instances(self, annotations: Sequence[dict], size: tuple[int, int], file_name: str) -> list[dict]:
        """Instances of one image; what is wrong with the others is one message."""
        instances, problems = [], []
        for annotation in annotations:
            try:
                category = self._category(annotation)
                if coco_check.is_shrunk_to_nothing(annotation):
                    self.repairs["objects without any extent are left out"] += 1
                elif category:
                    instances.append(coco_check.to_instance(annotation, size, category, self.repairs))
            except InputError as error:
                problems.append(f"annotation {annotation.get('id')!r} (image {annotation['image_id']}): {error}")
        self.counts.update(instance["iscrowd"] for instance in instances)
        if problems:
            more = f" ({len(problems) - 1} more bad annotations in this image)" if len(problems) > 1 else ""
            hint = self._exif_hint(problems[0], file_name)
            self.dataset.bad.append(f"{self.dataset.name}: {problems[0]}{hint}{more}")
            self.annotations_left_out += len(problems)
        return instances

    def _exif_hint(self, problem: str, file_name: str) -> str:
        if "outside its image" not in problem or not self.needs_images:
            return ""
        try:
            with open(os.path.join(self.dataset.image_dir, file_name), "rb") as file:
                return decode.exif_hint(file.read())
        except OSError:
            return ""  # said where the image is read

    def _category(self, annotation: dict) -> Category | None:
        """The annotation's class, None where it was not chosen."""
        number, category_id = annotation.get("id"), annotation.get("category_id")
        if not coco_check.is_id(number):
            raise InputError("its id must be a whole number")
        if number in self.seen_annotations:
            raise InputError("the id is there twice; annotation ids must be unique")
        self.seen_annotations.add(number)
        if type(category_id) is not int or category_id not in self.known:
            raise InputError(f"unknown category_id {category_id!r}; categories has {some(sorted(self.known))}")
        if category_id not in self.by_category:
            self.other_categories[category_id] += 1
        return self.by_category.get(category_id)

    def _missing(self, file_name: str) -> str | None:
        folder, name = os.path.split(os.path.join(self.dataset.image_dir, file_name))
        if name in self._files(folder):
            return None
        near = near_match(self.dataset.image_dir, file_name, self._files)
        return f"{os.path.join(folder, name)} does not exist or is no file; " + \
            (near or "restore it, or check the image folder")

    def _files(self, folder: str) -> set[str]:
        """Names of the files in a folder: one listing is faster than asking for every file."""
        if folder not in self.folders:
            try:
                self.folders[folder] = {entry.name for entry in os.scandir(folder) if _is_file(entry)}
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and folder == self.dataset.image_dir.rstrip("/"):
                    raise InputError(f"{folder}: {error.strerror}; it must be the folder that the file names of "
                                     f"{self.dataset.name} start from") from error
                self.folders[folder] = set()
        return self.folders[folder]

    def _bad(self, what: str, problem: str) -> None:
        self.dataset.bad.append(f"{self.dataset.name}: {what}: {problem}")


def _file_names(entries: Sequence[Any]) -> list[str]:
    return [entry["file_name"] for entry in entries if isinstance(entry, dict)
            and isinstance(entry.get("file_name"), str) and coco_check.image_problem(entry | _ANY_SIZE) is None]


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False
