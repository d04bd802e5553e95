"""Our kinds of errors against the program of TIDE's authors (tidecv) on generated detections: AP and the AP lost.

    python -m venv PEERS && PEERS/bin/pip install tidecv==1.0.1 numpy==1.26.4 seaborn pandas
    python benchmarks/error_kinds.py --peer_python=PEERS/bin/python

Every second split has crowds. The largest difference is printed; it must be below 1e-6. Ours are read at the peer's 101
recalls, k / 100: COCO's are those of np.linspace, of which ten are larger by one bit, and where a recall falls on one
of them the two differ by up to 0.002.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LIMIT = 1e-6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="python of the environment with tidecv")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--show", type=int, default=-1, help="a seed whose numbers are printed")
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(peer(json.loads(Path(args.work).read_text(encoding="utf-8")))))
        return 0
    if not args.peer_python:
        parser.error("--peer_python is missing: python of an environment with tidecv")
    worst, splits = 0.0, 0
    for seed in [args.show] if args.show >= 0 else range(args.seeds):
        for kind in ("bbox", "segm"):
            ours, theirs = both(args.peer_python, seed, kind)
            if args.show >= 0:
                print(kind, *(f"{value:.9f}" for value in theirs))
            worst, splits = max(worst, *(abs(a - b) for a, b in zip(ours, theirs))), splits + 1
    print(f"{splits} splits, largest difference of AP and AP lost {worst:.1e} (allowed {LIMIT:.0e})")
    return int(worst > LIMIT)


def both(python: str, seed: int, kind: str) -> tuple[list[float], list[float]]:
    """(AP, AP lost by kind) of ours and of the peer."""
    import numpy as np

    from src.metrics import precision_recall
    from src.metrics.coco_matches import overlaps
    from src.metrics.error_kinds import KINDS, ErrorKinds
    from tests.generated_detections import NAMES, evaluated

    precision_recall.RECALLS = np.arange(101) / 100
    evaluator = evaluated(seed, crowds=seed % 2 == 1)
    numbers = ErrorKinds(overlaps(evaluator, kind), NAMES).compute()
    ours = [numbers["ap"], *(numbers["kinds"][name]["ap_lost"] for name in KINDS)]
    content = {"kind": kind, "results": evaluator.all_results(),
               "images": {image_id: target.instances for image_id, target in evaluator.targets.items()}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        ran = subprocess.run([python, __file__, f"--work={path}"], capture_output=True, text=True, check=True)
    return ours, json.loads(ran.stdout)


def peer(content: dict) -> list[float]:
    from tidecv import TIDE, Data

    truth, found = Data("truth"), Data("found")
    for image_id, instances in content["images"].items():
        truth.add_image(int(image_id), image_id)
        for one in instances:
            add = truth.add_ignore_region if one["iscrowd"] else truth.add_ground_truth
            add(int(image_id), one["category_id"], one["bbox"], one["segmentation"])
    for row in content["results"]:
        found.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"], row["segmentation"])
    tide = TIDE(mode=TIDE.BOX if content["kind"] == "bbox" else TIDE.MASK)
    run = tide.evaluate(truth, found)
    lost = {error.short_name: value for error, value in run.fix_main_errors().items()}
    return [run.ap / 100, *(lost[name] / 100 for name in ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"))]


if __name__ == "__main__":
    raise SystemExit(main())
