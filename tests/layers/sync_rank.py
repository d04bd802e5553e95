"""A rank of two: normalises its half of a batch and prints what it got as JSON."""
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, sys.argv[1])
import src  # noqa: F401  isort: skip  the CPU switch comes before MindSpore
import mindspore as ms
from mindspore.communication import get_rank, init

from src.command_line import entry_point
from src.layers.sync_norm import SyncBatchNorm
from tests.layers.norm_case import run


def main() -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    init()
    rank = get_rank()
    norm = SyncBatchNorm(3)
    assert norm.world_size == 2
    result = run(norm, slice(rank, None, 2))
    values = {name: np.asarray(value).tolist() for name, value in result.items()}
    Path(__file__).with_name(f"result{rank}.json").write_text(json.dumps(values))


entry_point(main)
