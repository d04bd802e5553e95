"""Look at a data set before training: `python src/tools/doctor_data.py [--to=DIR] [flags of train.py]`.

Takes the flags of train.py (--model, --config, --data_root, --coco_root, ...) and writes doctor.html, doctor.json and
proposed.yaml, a preset for `train.py --config`, to a folder. The exit status is 1 where training would fail or the
splits share an image.
"""
from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src import tasks
from src.command_line import Parser, add_flag, entry_point, number_in
from src.config import as_flag
from src.contract import InputError
from src.doctor.data import page
from src.doctor.data.checkup import Checkup, examine
from src.doctor.data.pictures import samples
from src.doctor.data.proposals import preset
from src.doctor.finding import status
from src.files import write_file

log = logging.getLogger(__name__)
PAGE, NUMBERS, PRESET = "doctor.html", "doctor.json", "proposed.yaml"


def parse_args(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this tool, and the words for train.py's parser."""
    parser = Parser(prog="doctor_data.py", description=__doc__, add_help=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "to", "data_doctor", "folder for the page, the numbers and the preset; what is there is kept "
             "under another name")
    add_flag(parser, "decode", 5000, "images of each split that are decoded, for colours, near duplicates and pixels "
             "of classes; 0: none, -1: all", type=number_in(int, -1))
    add_flag(parser, "samples", True, "draw 16 samples as the network sees them (loads MindSpore)")
    args, rest = parser.parse_known_args(words)
    if {"-h", "--help"} & set(rest):
        parser.print_help()
        print("\nFlags of train.py:\n")
    return args, rest


def main() -> int:
    args, rest = parse_args(sys.argv[1:])
    settings = tasks.parse_settings(rest, program="doctor_data.py", groups=("train",))
    if settings.print_config:
        print(settings.to_preset(), end="")
        return 0
    checkup = examine(settings, decode=args.decode)
    for finding in checkup.findings:
        print(finding, flush=True)
    write(checkup, Path(args.to), draw_samples=args.samples)
    return status(checkup.findings)


def write(checkup: Checkup, folder: Path, *, draw_samples: bool) -> None:
    """Write the page, the numbers and the preset into `folder`.

    Raises:
        InputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--to={folder}: {error.strerror}; give a folder that can be written to") from error
    drawn, fault = _samples(checkup) if draw_samples else (None, "")
    command = f"python train.py --model={checkup.settings.model} {as_flag('config', folder / PRESET)}"
    title = f"Proposed by doctor_data.py for {checkup.facts['splits']['train']['name']}\n{command}"
    _write(folder / PRESET, preset(checkup.given, checkup.proposals, title))
    _write(folder / NUMBERS, json.dumps(checkup.as_json() | {"preset": PRESET}, indent=2) + "\n")
    _write(folder / PAGE, page.render(checkup, command=command, samples=drawn, fault=fault))
    for proposal in checkup.proposals:
        print(f"{'proposed':<8} {proposal.key}: {proposal.proposed} instead of {proposal.now}; {proposal.reason}")
    log.info("%s: %s, %s; with the proposed settings: %s", folder, PAGE, NUMBERS, command)


def _samples(checkup: Checkup):
    usable = [k for k, image in enumerate(checkup.looks["train"].images) if not image.faults]
    return samples(tasks.create(checkup.settings), checkup.datasets["train"], checkup.settings, usable)


def _write(path: Path, content: str) -> None:
    """Write a file; one that is there and differs keeps its content under a name with a number."""
    if path.is_file() and path.read_bytes() != content.encode("utf-8", "replace"):
        number = next(k for k in range(1, 1 << 20) if not _numbered(path, k).exists())
        path.rename(_numbered(path, number))
        log.info("%s: the earlier one is %s now", path, _numbered(path, number).name)
    write_file(path, content.encode("utf-8", "replace"))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


if __name__ == "__main__":
    entry_point(main)
