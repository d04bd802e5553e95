"""Score offline results: `python postprocess.py --result_path=DIR --data_root=... --data_lst=...` (docs/export.md)."""
import sys
from pathlib import Path

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError
from src.metrics.bootstrap_options import add_samples_flag


def main() -> int:
    args = parse(sys.argv[1:])
    from src.metrics.tables import coco_table, miou_table
    from src.results.files import write_json
    from src.results.image_files import with_intervals
    from src.results.score import score_coco, score_list

    if args.data_lst:
        numbers, statistics = score_list(
            args.result_path, args.data_root, args.data_lst, num_classes=args.num_classes, crop_size=args.crop_size,
            label_map=args.label_map, allow_single_class=args.allow_single_class, on_bad=args.on_bad)
        print(miou_table(numbers))
        if missing := numbers["images_without_result"]:
            print(f"{len(missing)} images without a result did not count: {missing[:20]}")
    else:
        numbers, statistics = score_coco(args.result_path, args.ann_file, args.img_path,
                                         max_detections=args.max_detections, on_bad=args.on_bad)
        print(coco_table(numbers, args.max_detections))
    path = Path(args.result_path) / "metrics.json"
    write_json(path, numbers | with_intervals(path, statistics, args.bootstrap))
    return 0


def parse(argv: list[str]):
    parser = Parser(description=__doc__)
    add_flag(parser, "result_path", "./result_Files", "folder that the inference wrote; metrics.json is written there")
    add_flag(parser, "data_root", "", "semantic: folder that the list's paths start from")
    add_flag(parser, "data_lst", "", "semantic: list of images and labels")
    add_flag(parser, "label_map", "", "semantic: renumber the labels, see train.py --help")
    add_flag(parser, "allow_single_class", False, "semantic: take labels whose counted pixels are all of one class")
    add_flag(parser, "ann_file", "", "instance: COCO annotations")
    add_flag(parser, "img_path", "", "instance: folder of the images, to check them and to read sizes that the "
             "annotations lack; not needed")
    add_flag(parser, "max_detections", 100, "instance: best detections of an image that count; COCO's numbers have 100")
    add_flag(parser, "num_classes", 21, "of raw .bin results of the model zoo's DeepLabV3")
    add_flag(parser, "crop_size", 513, "of raw .bin results of the model zoo's DeepLabV3")
    add_flag(parser, "on_bad", "error", "bad entries of the truth: error stops, skip leaves them out and lists them",
             choices=("error", "skip"))
    add_samples_flag(parser, 1000)
    args = parser.parse_args(argv)
    semantic, instance = bool(args.data_lst or args.data_root), bool(args.ann_file or args.img_path)
    if semantic == instance:
        raise InputError("give either --data_root and --data_lst, or --ann_file")
    for name in ("data_root", "data_lst") if semantic else ("ann_file",):
        if not getattr(args, name):
            raise InputError(f"--{name} is missing")
    return args


if __name__ == "__main__":
    entry_point(main)
