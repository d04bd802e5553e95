"""Predict images, folders and videos: `python predict.py --model_path=MODEL IMAGES...` (docs/export.md)."""
import logging
import sys
from pathlib import Path

from src.command_line import entry_point
from src.compile_cache import private
from src.inference.arguments import parse, settings_of

log = logging.getLogger(__name__)


def main() -> int:
    args = parse(sys.argv[1:], description=__doc__)
    if args.compile_cache:
        private.claim()
    from src.exporting.preprocess_spec import decoding_of
    from src.inference import model as prediction
    from src.inference.coco_ids import CocoIds
    from src.inference.collecting import collect, warn_of_dark_inputs
    from src.report.progress_bar import progress_display
    from src.results.folder import PredictionFolder, claim

    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    inputs = collect(args.images, dataset_path=args.dataset_path, image_list=args.image_list)
    ids = CocoIds(args.ann_file) if args.ann_file else None
    image_ids = inputs.listed_ids() | (ids.images(inputs.images) if ids else {})
    model = prediction.load(args.model_path, device_target=args.device_target, batch_size=args.batch_size,
                            inference_engine=args.inference_engine, **settings_of(args))
    warn_of_dark_inputs(inputs.images, decoding_of(model.preprocess).bit_depth)
    category_ids = ids.categories(model.class_names, model.category_ids) if ids else ()
    with progress_display() as progress:
        folder = PredictionFolder(Path(args.output_dir), model, image_ids=image_ids, category_ids=category_ids,
                                  score_threshold=args.score_threshold, progress=progress)
        claim(folder.path, Path(args.model_path), model.preprocess)
        folder.add_images(inputs.images)
        for video in inputs.videos:
            folder.add_video(video)
    return tell(folder.path, folder.finish(inputs.bad), inputs.bad)


def tell(folder: Path, index: dict, bad: list) -> int:
    """Log what was predicted and what could not be read; return the exit status."""
    for one, reason in bad:
        log.warning("%s: %s", one.path, reason)
    if index.get("coco_results", {}).get("reason"):
        log.info("no detections.json: %s", index["coco_results"]["reason"])
    log.info("%d images and %d videos in %s, by %s%s", len(index["images"]) - len(bad), len(index["videos"]), folder,
             index["inference_engine"], f"; not readable, see above: {len(bad)}" if bad else "")
    return 3 if bad else 0


if __name__ == "__main__":
    entry_point(main)
