"""Mask R-CNN's AP on practice pictures, and on the same pictures stitched together and seen through tiles.

    python benchmarks/tiles_ap.py --checkpoint CKPT... [--seeds=1,2,3] [--grid=4] [--overlap=80] [--strip=0] [--at_once]

Checkpoints are those that scripts/quickstart.sh trains, several because one says little. Each seed draws grid x grid
pictures of 160 x 160 pixels that the training has not seen, and stitches them edge to edge. All are seen in the scale
of the training, and a tile is as large as a picture, so that every second tile in each direction is a whole picture:

    single          each picture alone
    tiles           the stitched image in tiles that overlap, merged
    tiles, bounded  the same, but each detection ends at the border of the picture in which its middle lies
    at once         (--at_once) the stitched image in one piece, in an input large enough for it: no tiles, no merging

Two of three shapes end at the border of their picture, and a picture's border bounds boxes: alone, the network need not
see where such a shape ends. In the stitched image the next picture begins there, and the network has to find the seam.
"bounded" gives the border back, and "inner" is the AP of the shapes that end at no border; the others do not count
there. What is left is what tiles and merging cost. --strip=80 stitches with ground of the mean colour in between and
around the pictures, in single ones too; tiles have twice the side then.

Prints the mean AP of boxes and masks over checkpoints and seeds, and its ratio to that of the single pictures with the
range of the single ratios. The best 1000 detections of each class and image count, because stitching alone reaches
COCO's limit of 100.
"""
import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[1]))

import src  # noqa: F401  isort: skip
from src import tasks
from src.command_line import Parser, add_flag, entry_point
from src.config import build
from src.contract import Instances, Record
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.data.practice.shapes import CLASS_NAMES, draw_scene
from src.metrics.coco_map import CocoMAP

COUNTED = 1000
SIDE = 160  # of a picture, pixels
MEAN = (124, 116, 104)
SCALE = 128 / SIDE  # of the practice set's configuration: its input has 128 x 128 pixels
CATEGORIES = encode_categories([Category(k, k, name) for k, name in enumerate(CLASS_NAMES) if k])
Picture = tuple[np.ndarray, list[tuple[int, np.ndarray]]]  # (H, W, 3), and (class, (H, W) bool) of each shape


@dataclass(frozen=True)
class Plan:
    """How pictures are stitched: so many along a side, with a strip of ground of `strip` pixels around each."""

    grid: int
    strip: int

    def windows(self, count: int, margin: int) -> list[tuple[slice, slice]]:
        """The places of `count` pictures, row by row, behind a margin."""
        pitch = SIDE + self.strip
        return [tuple(slice(margin + pitch * n, margin + pitch * n + SIDE) for n in divmod(k, self.grid))
                for k in range(count)]

    def stitch(self, pictures: list[Picture], margin: int) -> Picture:
        """The pictures as one."""
        rows, columns = -(-len(pictures) // self.grid), min(len(pictures), self.grid)
        size = tuple(n * (SIDE + self.strip) - self.strip + 2 * margin for n in (rows, columns))
        image, shapes = np.full((*size, 3), MEAN, np.uint8), []
        for (part, things), window in zip(pictures, self.windows(len(pictures), margin)):
            image[window] = part
            for category, mask in things:
                shapes.append((category, np.zeros(size, bool)))
                shapes[-1][1][window] = mask
        return image, shapes


def main() -> int:
    args = parse(sys.argv[1:])
    measured: dict[str, list] = {}  # AP of boxes and masks of each checkpoint and seed
    for checkpoint in args.checkpoint:
        measure(checkpoint, args, measured)
    for name, values in measured.items():
        base = np.array(measured[f"single ({name.rsplit('(')[1]}"])
        ratios = np.array(values) / base
        print(f"{name:24s} AP of boxes {np.mean(values, 0)[0]:.4f}, of masks {np.mean(values, 0)[1]:.4f}; to single: "
              + ", ".join(f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in
                          zip(np.mean(values, 0) / base.mean(0), ratios.min(0), ratios.max(0))))
    return 0


def measure(checkpoint: str, args: argparse.Namespace, measured: dict[str, list]) -> None:
    """Add the checkpoint's AP with each seed to `measured`."""
    plan, tile = Plan(args.grid, args.strip), SIDE * (2 if args.strip else 1)
    side = args.grid * (SIDE + args.strip) + args.strip  # of the stitched image
    single = predictor(checkpoint, tile, eval_mode="whole")
    tiles = predictor(checkpoint, tile, eval_mode="tiles", tile_size=(tile,), tile_overlap=args.overlap)
    at_once = predictor(checkpoint, -(-side // 40) * 40, eval_mode="whole") if args.at_once else None
    for seed in map(int, args.seeds.split(",")):
        pictures = [picture(seed, k) for k in range(args.grid ** 2)]
        ends = [touches(mask) for _, shapes in pictures for _, mask in shapes]
        large = plan.stitch(pictures, args.strip)
        alone = [plan.stitch([one], (tile - SIDE) // 2) for one in pictures]
        windows = plan.windows(len(pictures), args.strip)
        found = {"single": list(single(records(alone))), "tiles": list(tiles(records([large])))}
        found["tiles, bounded"] = [bounded(found["tiles"][0], windows)]
        if at_once:
            found["at once"] = list(at_once(records([large])))
        for name, instances in found.items():
            truth = alone if name == "single" else [large]
            for count, skipped in (("all", [False] * len(ends)), ("inner", ends)):
                numbers = evaluate(instances, truth, skipped)
                measured.setdefault(f"{name} ({count})", []).append([numbers[kind]["AP"] for kind in ("bbox", "segm")])
        print(f"{checkpoint}, seed {seed}: {len(ends)} shapes, {sum(ends)} of them end at the border of their picture",
              flush=True)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, nargs="+", help="Mask R-CNNs of scripts/quickstart.sh")
    add_flag(parser, "seeds", "1,2,3", "seeds of the pictures")
    add_flag(parser, "grid", 4, "pictures along a side of the stitched image")
    add_flag(parser, "overlap", 80, "of the tiles, in pixels")
    add_flag(parser, "strip", 0, "pixels of ground around each picture")
    add_flag(parser, "at_once", False, "also see the stitched image in one piece")
    return parser.parse_args(argv)


def touches(mask: np.ndarray) -> bool:
    """Whether a shape ends at the border of its picture."""
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def bounded(found: Instances, windows: list[tuple[slice, slice]]) -> Instances:
    """Each instance without what lies outside the window that its middle lies in."""
    boxes, rles = found.boxes_image.copy(), list(found.rles)
    for k, (x1, y1, x2, y2) in enumerate(found.boxes_image):
        for rows, columns in windows:
            if rows.start <= (y1 + y2) / 2 < rows.stop and columns.start <= (x1 + x2) / 2 < columns.stop:
                boxes[k] = np.clip(boxes[k], (columns.start, rows.start) * 2, (columns.stop, rows.stop) * 2)
                mask = coco_mask.decode(rles[k])
                part = np.zeros_like(mask)
                part[rows, columns] = mask[rows, columns]
                rle = coco_mask.encode(np.asfortranarray(part))
                rles[k] = {"size": rle["size"], "counts": rle["counts"].decode()}
    return replace(found, boxes_image=boxes, rles=rles)


def picture(seed: int, number: int) -> Picture:
    scene = draw_scene(np.random.default_rng([seed, 77, number]), (SIDE, SIDE))
    return scene.image, [(thing.category, thing.mask) for thing in scene.instances]


def evaluate(found: list[Instances], pictures: list[Picture], skipped: list[bool]) -> dict:
    """COCO's numbers. Shapes that are `skipped` are treated as crowds are: neither found nor missed."""
    evaluator = CocoMAP(COUNTED)
    for record, instances in zip(records(pictures, skipped), found):
        evaluator.update(instances, record.target)
    return evaluator.compute()


def records(pictures: list[Picture], skipped: Iterable[bool] = ()) -> Iterator[Record]:
    skip = iter(skipped)
    for k, (image, shapes) in enumerate(pictures, 1):
        rows = []
        for number, (category, mask) in enumerate(shapes):
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            rows.append({"id": number, "label": category, "category_id": category, "iscrowd": int(next(skip, False)),
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
        "inference_engine": "auto",
        "rpn_nms_pre": min(round(200 * more), 2800), "rpn_max_num": round(100 * more),
        "test_max_per_img": round(20 * more)} | settings))
    runtime.start("CPU")
    task = tasks.create(config)
    network = task.network()
    load_weights(network, checkpoint)
    return task.predictor(network)


if __name__ == "__main__":
    entry_point(main)
