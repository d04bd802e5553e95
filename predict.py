"""Predict images, folders and videos: `python predict.py --model_path=MODEL IMAGES...` (docs/export.md)."""
import logging
import sys
from pathlib import Path

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError

log = logging.getLogger(__name__)


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("images", nargs="+", help="image files, folders of them (searched through) and videos")
    parser.add_argument("--model_path", "--checkpoint", "--ckpt_path", "--ckpt_file", required=True,
                        help="checkpoint, or a .mindir or .onnx file beside its preprocess.json")
    add_flag(parser, "output_dir", "runs/predict", "folder for overlays/, labels/ or detections/, and index.json")
    add_flag(parser, "device_target", "CPU", "device of a checkpoint", choices=("Ascend", "CPU"))
    add_flag(parser, "amp_level", "auto", "precision of a checkpoint: O0 float32, O2 float16 except in normalisation "
             "layers, O3 float16; auto: O0 on a CPU, on Ascend what it was trained with",
             choices=("auto", "O0", "O2", "O3"))
    parser.add_argument("--score_threshold", "--least_score", default=0.5, type=number_in(float, 0, 1),
                        help="draw instances of at least this score; all of them are written (default: 0.5)")
    add_flag(parser, "batch_size", 1, "images per batch (checkpoints only; an exported file has its own)")
    args = parser.parse_args()
    path = Path(args.model_path)
    if not path.is_file():
        problem = "is a folder; name the file in it" if path.is_dir() else "no such file"
        raise InputError(f"--model_path={path}: {problem}")
    from src.inference import model as prediction
    from src.inference.collecting import collect
    from src.report.progress_bar import progress_display
    from src.results.folder import PredictionFolder, claim

    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    images, videos, bad = collect(args.images)
    model = prediction.load(args.model_path, device_target=args.device_target, batch_size=args.batch_size,
                            **({} if args.amp_level == "auto" else {"amp_level": args.amp_level}))
    with progress_display() as progress:
        folder = PredictionFolder(Path(args.output_dir), model, score_threshold=args.score_threshold, progress=progress)
        claim(folder.path, path)
        folder.add_images(images)
        for name, video in videos.items():
            folder.add_video(name, video)
    folder.finish(bad)
    for path, reason in bad.items():
        log.warning("%s: %s", path, reason)
    log.info("%d images and %d videos in %s%s", len(images), len(videos), folder.path,
             f"; {len(bad)} could not be read" if bad else "")
    return 3 if bad else 0


if __name__ == "__main__":
    entry_point(main)
