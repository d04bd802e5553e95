"""What an evaluation leaves on disk: eval.py's results and those of a report are the same files. No MindSpore here."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.contract import Evaluator, Task
from src.engine.settings import Settings
from src.results.files import write_coco_results, write_json
from src.results.image_files import with_intervals


def write_evaluation(path: Path, task: Task, evaluator: Evaluator, numbers: Mapping[str, Any],
                     settings: Settings) -> dict[str, Any]:
    """Write results, what each image contributes to them and the predictions; print the intervals.

    Args:
        path: JSON file of the results, NAME.json; the others are NAME.images.npz and, of instances, COCO results files.
        numbers: those of `evaluator`.

    Returns:
        what the results say of the intervals, see `bootstrap.report`.
    """
    intervals = with_intervals(path, evaluator.statistics(), settings.bootstrap)
    write_json(path, {**numbers, **intervals, "checkpoint": settings.checkpoint,
                      "inference_engine": task.engine.name, "configuration": settings.evaluation()})
    for name, content in task.results(evaluator).items():
        write_coco_results(path.with_name(f"{path.stem}.{name}.json"), content)
    return intervals
