"""Mask R-CNN's AP on practice pictures, and on the same pictures stitched together and seen through tiles.

    python benchmarks/tiles_ap.py --checkpoint=CKPT [--seeds=1,2,3] [--grid=4] [--tile=320] [--overlap=112]

The checkpoint is one that scripts/quickstart.sh trains. Each seed draws grid x grid pictures that the training has not
seen, of 160 x 160 pixels. All are seen in the scale of the training: each one alone in the middle of a ground of the
mean colour as large as a tile, all stitched together on such a ground in tiles, and the stitched image at once, with
an input large enough for it. The ground matters: this small network was trained on pictures that fill its input, and
without it, or beside other pictures, it finds other things in the same picture, with tiles or without.

Prints AP of boxes and masks, and the ratios of that of tiles to the others. The best 1000 detections of each class and
image count, because stitching alone reaches COCO's limit of 100.
"""
import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[1]))

import src  # noqa: F401  isort: skip
from src import tasks
from src.command_line import Parser, add_flag, entry_point
from src.config import build
from src.contract import Record
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.data.practice.shapes import CLASS_NAMES, draw_scene
from src.metrics.coco_map import CocoMAP

COUNTED = 1000
SIDE, STRIP = 160, 80  # pixels
MEAN = (124, 116, 104)
SCALE = 128 / SIDE  # of the practice set's configuration: its input has 128 x 128 pixels
CATEGORIES = encode_categories([Category(k, k, name) for k, name in enumerate(CLASS_NAMES) if k])
Picture = tuple[np.ndarray, list[tuple[int, np.ndarray]]]  # (H, W, 3), and (class, (H, W) bool) of each shape


def main() -> int:
    args = parse(sys.argv[1:])
    side = args.grid * (SIDE + STRIP) + STRIP  # of the stitched image
    single = predictor(args.checkpoint, args.tile, eval_mode="whole")
    at_once = predictor(args.checkpoint, -(-side // 40) * 40, eval_mode="whole")
    tiles = predictor(args.checkpoint, args.tile, eval_mode="tiles", tile_size=(args.tile,), tile_overlap=args.overlap)
    ratios = {(kind, name): [] for kind in ("bbox", "segm") for name in ("single", "at once")}
    for seed in map(int, args.seeds.split(",")):
        pictures = [picture(seed, k) for k in range(args.grid ** 2)]
        alone = [stitched([one], 1, margin=(args.tile - SIDE) // 2) for one in pictures]
        large = [stitched(pictures, args.grid, margin=STRIP)]
        found = {"single": evaluate(single, alone), "at once": evaluate(at_once, large),
                 "tiles": evaluate(tiles, large)}
        for kind, name in ratios:
            ratios[kind, name].append(found["tiles"][kind]["AP"] / found[name][kind]["AP"])
        for kind in ("bbox", "segm"):
            print(f"seed {seed}, {kind}: AP " + ", ".join(f"{numbers[kind]['AP']:.4f} {name}"
                                                          for name, numbers in found.items()), flush=True)
    for (kind, name), values in ratios.items():
        print(f"{kind}, tiles to {name}: {np.mean(values):.4f} on average ({min(values):.4f} to {max(values):.4f})")
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="a Mask R-CNN of scripts/quickstart.sh")
    add_flag(parser, "seeds", "1,2,3", "seeds of the pictures")
    add_flag(parser, "grid", 4, "pictures along a side of the stitched image")
    add_flag(parser, "tile", 320, "side of a tile, in pixels: a multiple of 40")
    add_flag(parser, "overlap", 112, "of the tiles, in pixels; the largest shapes are as large")
    return parser.parse_args(argv)


def picture(seed: int, number: int) -> Picture:
    scene = draw_scene(np.random.default_rng([seed, 77, number]), (SIDE, SIDE))
    return scene.image, [(thing.category, thing.mask) for thing in scene.instances]


def stitched(pictures: list[Picture], grid: int, *, margin: int) -> Picture:
    """The pictures row by row as one, with a margin of so many pixels."""
    pitch = SIDE + STRIP
    side = grid * pitch - STRIP + 2 * margin
    image, shapes = np.full((side, side, 3), MEAN, np.uint8), []
    for k, (part, things) in enumerate(pictures):
        window = tuple(slice(margin + pitch * n, margin + pitch * n + SIDE) for n in divmod(k, grid))
        image[window] = part
        for category, mask in things:
            shapes.append((category, np.zeros(image.shape[:2], bool)))
            shapes[-1][1][window] = mask
    return image, shapes


def evaluate(predict, pictures: list[Picture]) -> dict:
    """COCO's numbers."""
    evaluator = CocoMAP(COUNTED)
    for record, found in zip(records(pictures), predict(records(pictures))):
        evaluator.update(found, record.target)
    return evaluator.compute()


def records(pictures: list[Picture]) -> Iterator[Record]:
    for k, (image, shapes) in enumerate(pictures, 1):
        rows = []
        for number, (category, mask) in enumerate(shapes):
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            rows.append({"id": number, "label": category, "category_id": category, "iscrowd": 0,
                         "bbox": coco_mask.toBbox(rle).tolist(), "area": int(mask.sum()),
                         "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}})
        target = encode_target(k, image.shape[:2], CATEGORIES, encode_instances(rows))
        yield Record(k, f"{k}.png", cv2.imencode(".png", image[..., ::-1])[1].tobytes(), target)


def predictor(checkpoint: str, seen: int, **settings):
    """The predictor of `src.contract.Task`; its input shows `seen` pixels, with as many candidates an area."""
    from src.engine import runtime
    from src.weights.load import load_weights

    side, more = -(-round(seen * SCALE) // 32) * 32, (seen / SIDE) ** 2
    config = tasks.with_conventions(build(tasks.config_class("maskrcnn"), {
        "checkpoint": checkpoint, "device_target": "CPU", "test_batch_size": 1, "img_width": side, "img_height": side,
        "rpn_nms_pre": min(round(200 * more), 2800), "rpn_max_num": round(100 * more),
        "test_max_per_img": round(20 * more)} | settings))
    runtime.start("CPU")
    task = tasks.create(config)
    network = task.network()
    load_weights(network, checkpoint)
    return task.predictor(network)


if __name__ == "__main__":
    entry_point(main)
