"""A rank with MindSpore: sums a tensor over all ranks, `sys.argv[1]` times."""
import os
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.communication import get_group_size, get_rank, init

from src.command_line import entry_point


class Sum(nn.Cell):
    def __init__(self):
        super().__init__()
        self.reduce = ops.AllReduce()

    def construct(self, x):
        return self.reduce(x)


def main() -> None:
    ms.set_device("CPU")
    init()
    rank = get_rank()
    assert rank == int(os.environ["RANK_ID"])
    total = Sum()
    for step in range(int(sys.argv[1])):
        values = total(Tensor(np.array([rank + 1, 10], np.float32))).asnumpy().tolist()
        print(f"rank {rank} of {get_group_size()}: {values}", flush=True)
        (Path(__file__).parent / f"pid{rank}").write_text(str(os.getpid()))
        if step:
            time.sleep(0.2)


entry_point(main)
