"""Per-image statistics on disk, beside the results that they belong to: NAME.json and NAME.images.npz.

A file holds `image_ids`, `truths` and `class_names`, `format`, the kind of statistics, and what that kind adds
(`src/metrics/image_statistics.py`). No MindSpore here.
"""
from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError
from src.files import replacing
from src.metrics import bootstrap
from src.metrics.image_statistics import KINDS, ImageStatistics
from src.metrics.tables import interval_line

FORMAT, SUFFIX = "mindseg.images.1", ".images.npz"


def beside(results: Path) -> Path:
    """The file of statistics that belongs to the results in a JSON file."""
    return results.with_name(results.stem + SUFFIX)


def write_statistics(path: Path, statistics: ImageStatistics) -> None:
    """Write statistics in one step."""
    with replacing(path) as unfinished:
        np.savez_compressed(unfinished, format=FORMAT, kind=statistics.kind, image_ids=statistics.image_ids,
                            truths=statistics.truths, class_names=np.array(statistics.class_names, str),
                            **statistics.arrays())


def with_intervals(results: Path, statistics: ImageStatistics, samples: int) -> dict[str, Any]:
    """Write the statistics beside the results of an evaluation, and print its intervals.

    Args:
        results: JSON file of the results.
        samples: of the bootstrap; 0: no intervals.

    Returns:
        what the results say of the intervals, see `bootstrap.report`.
    """
    found = bootstrap.report(statistics, samples)
    if found:
        print(interval_line(found, len(statistics)))
    write_statistics(beside(results), statistics)
    return found


def read_statistics(path: Path) -> ImageStatistics:
    """Read what `write_statistics` wrote.

    Raises:
        InputError: the file does not exist, is damaged, or is of another format.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays["format"]) == FORMAT:
            return KINDS[str(arrays["kind"])].from_arrays(arrays, arrays["image_ids"], arrays["truths"],
                                                          arrays["class_names"].tolist())
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist; eval.py and report.py write it") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: holds no per-image statistics ({error}); evaluate again") from error
    raise InputError(f"{path}: its format is {arrays['format']!s}, known is {FORMAT}; evaluate again")
