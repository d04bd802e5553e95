"""What docs/models.md says of a trained model: its file, its scores with their intervals, its training time.

    python benchmarks/model_facts.py CHECKPOINT RESULTS

RESULTS is the results file of eval.py for the checkpoint; the training's log, metrics.jsonl, is beside the checkpoint.
Needs no MindSpore.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.command_line import entry_point
from src.contract import InputError
from src.files import sha256

# The numbers that are printed, where the results have them.
NUMBERS = {("miou",): "mean IoU", ("bbox", "AP"): "box AP", ("segm", "AP"): "mask AP", ("segm", "AP50"): "mask AP50"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("results", type=Path)
    args = parser.parse_args()
    results = results_of(args.results, args.checkpoint)
    print(f"{args.checkpoint.name}: {args.checkpoint.stat().st_size / 1e6:.1f} MB, sha256 {sha256(args.checkpoint)}")
    print(scores(results))
    print(training(args.checkpoint.parent / "metrics.jsonl"))


def results_of(path: Path, checkpoint: Path) -> dict[str, Any]:
    """The results of this checkpoint.

    Raises:
        InputError: they are another's, or not eval.py's.
    """
    try:
        results = json.loads(path.read_text())
        evaluated = Path(results["checkpoint"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: no results of eval.py (--result_path)") from None
    if evaluated.name != checkpoint.name or evaluated.parts[-3:-1] != checkpoint.resolve().parts[-3:-1]:
        raise InputError(f"{path} is of {evaluated}, not {checkpoint}; evaluate that one with eval.py")
    return results


def scores(results: dict[str, Any]) -> str:
    """The scores, with their 95 % intervals where the evaluation has drawn some."""
    shown = []
    for name, title in NUMBERS.items():
        if (value := find(results, name)) is not None:
            ends = find(results.get("intervals", {}), name)
            shown.append(f"{title} {value:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""))
    return ", ".join(shown)


def find(tree: Any, name: tuple[str, ...]) -> Any:
    for key in name:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def training(log: Path) -> str:
    """Steps and time of a run, the waits for data and the compilation of each of its parts included; evaluations apart.

    Raises:
        InputError: no step is in the log.
    """
    try:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    except ValueError as error:
        raise InputError(f"{log}: no log of train.py ({error})") from None
    steps = [line for line in lines if line["kind"] == "train"]
    if not steps:
        raise InputError(f"{log}: no training steps in it")
    seconds = sum(line["seconds"] / max(1 - line["data_wait"], 1e-9) for line in steps)
    evaluation = sum(line["seconds"] for line in lines if line["kind"] == "eval")
    return (f"{len(steps)} steps, {seconds / 60:.1f} minutes of training, {seconds / len(steps):.2f} s a step; "
            f"another {evaluation / 60:.1f} minutes of evaluation")


if __name__ == "__main__":
    entry_point(main)
