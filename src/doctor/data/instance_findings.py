"""What the facts of instances mean for Mask R-CNN."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from src.doctor.data.facts import Facts
from src.doctor.data.findings import first, percent
from src.doctor.data.instance_facts import CELL
from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.launch.plan import plural
from src.maskrcnn.splits import NOTHING
from src.wording import some

RARE = 10  # objects of a class below which it can hardly be learnt
MANY_UNREACHED, MANY_SMALL, MANY_CROWDS = 0.05, 0.05, 0.2  # shares that are worth a warning
MANY_EMPTY, MANY_COVERED = 0.5, 0.2


def instance_findings(facts: Facts, settings: Any) -> Iterator[Finding]:
    """Findings on the instances of `facts`, the JSON's content."""
    train = facts["splits"]["train"]["instances"]
    if not train["objects"]:
        yield Finding("train: objects", FAILURE, NOTHING.format(images=facts["splits"]["train"]["records"],
                                                                crowds=train["crowds"]))
    yield from _classes(facts)
    for split, part in facts["splits"].items():
        yield from _shares(split, part["instances"], part["records"])
        yield from _masks(split, part["instances"])
    yield from _slots(facts["splits"])
    yield from _sizes(train, settings)


def _classes(facts: Facts) -> Iterator[Finding]:
    for split, part in facts["splits"].items():
        classes = part["instances"]["classes"]
        absent = [name for name, numbers in classes.items() if not numbers["objects"]]
        rare = [f"{name} ({numbers['objects']})" for name, numbers in classes.items()
                if 0 < numbers["objects"] < RARE]
        if absent:
            what = "it is never learnt" if split == "train" else "it does not count in AP"
            yield Finding(f"{split}: classes", WARNING, f"no object of {some(absent)}",
                          f"{what}; label some, or choose the classes with --coco_classes")
        if rare and split == "train":
            yield Finding("train: classes", WARNING, f"fewer than {RARE} objects of {some(rare)}",
                          "label more of them, or merge classes")
        if not absent and not (rare and split == "train"):
            count = part["instances"]["objects"]
            noun = "class" if len(classes) == 1 else "classes"
            yield Finding(f"{split}: classes", OK, f"{count} objects, {len(classes)} {noun}")


def _shares(split: str, part: Facts, records: int) -> Iterator[Finding]:
    if part["without_objects"]:
        share = part["without_objects"] / records
        level = WARNING if share > MANY_EMPTY else OK
        yield Finding(f"{split}: unlabelled", level, f"images without an object: "
                      f"{part['without_objects']} of {records} ({percent(share)})",
                      "all of such an image is background: check that its objects were not forgotten"
                      if level == WARNING else "")
    if part["crowd_share"] > MANY_CROWDS:
        yield Finding(f"{split}: crowds", WARNING, f"crowds, in which nothing is learnt or counted: "
                      f"{plural(part['crowds'], 'annotation')} ({percent(part['crowd_share'])})",
                      "if each is one object (brush masks of CVAT), import_data.py --crowds=objects makes objects of "
                      "them")


def _masks(split: str, part: Facts) -> Iterator[Finding]:
    masks, name = part["masks"], f"{split}: masks"
    if masks["boxes_alone"]:
        yield Finding(name, WARNING, f"objects with a box and no mask: {masks['boxes_alone']} of {part['objects']}",
                      "they train the boxes alone")
    for kind, text, remedy in (
            ("empty", "with a mask without a pixel", "they train the boxes alone: draw them again"),
            ("box_contradicts", "with a box that contradicts the mask", "correct one of the two; training takes the "
             "box and cuts the mask off at it"),
            ("twice", "with nearly the same mask as another of the class", "remove one of them")):
        if masks[kind]["count"]:
            yield Finding(name, WARNING, f"{plural(masks[kind]['count'], 'object')} {text}{first(masks[kind])}", remedy)
    if masks["covered"]["share"] > MANY_COVERED:
        yield Finding(name, WARNING, f"{plural(masks['covered']['count'], 'object')} "
                      f"({percent(masks['covered']['share'])}) with more than a fifth in another's mask"
                      f"{first(masks['covered'])}",
                      "check whether objects were annotated in front of each other as they are seen")


def _slots(splits: Mapping[str, Facts]) -> Iterator[Finding]:
    slots = splits["train"]["instances"]["above_max_instance_count"]
    if slots["images"]:
        yield Finding("slots", WARNING, f"{plural(slots['images'], 'training image')} with more than "
                      f"max_instance_count={slots['limit']} objects; left out, the smallest: {slots['objects']}",
                      "raise --max_instance_count")
    split = "val" if "val" in splits else "train"
    found = splits[split]["instances"]["above_test_max_per_img"]
    if found["images"]:
        yield Finding("detections", WARNING, f"{plural(found['images'], 'image')} of {split} with more than "
                      f"test_max_per_img={found['limit']} objects; {found['objects']} cannot be found",
                      "raise --test_max_per_img, and --eval_max_detections for AP that counts them")
    if not slots["images"] and not found["images"]:
        yield Finding("slots", OK, f"max_instance_count={slots['limit']} and test_max_per_img={found['limit']} suffice")


def _sizes(part: Facts, settings: Any) -> Iterator[Finding]:
    if not part["objects"]:
        return
    size = f"{settings.img_height} x {settings.img_width}"
    if part["vanish"]:
        yield Finding("small objects", WARNING, f"{plural(part['vanish'], 'object')} less than a pixel wide or high "
                      f"in an input of {size}, which training leaves out",
                      "train with a larger input, or on tiles of the images")
    if part["below_a_cell"] > MANY_SMALL * part["objects"]:
        yield Finding("small objects", WARNING, f"{plural(part['below_a_cell'], 'object')} "
                      f"({percent(part['below_a_cell'] / part['objects'])}) smaller than a cell of the finest level, "
                      f"{CELL:g} pixels, in an input of {size}", "train with a larger input, or on tiles of the images")
    anchors = part["anchors"]
    if anchors:
        unreached = anchors["unreached"]["0.5"]
        text = (f"{percent(unreached)} of the boxes have no anchor at IoU 0.5, {percent(anchors['unreached']['0.7'])} "
                f"none at 0.7, in an input of {size}, before random expansion")
        yield Finding("anchors", WARNING, text, "see the proposed anchors, or change the input size") \
            if unreached > MANY_UNREACHED else Finding("anchors", OK, text)
