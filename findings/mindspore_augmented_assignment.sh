#!/usr/bin/env bash
# MindSpore: in graph mode `x += y` writes into the tensor, also for every other name of it.
#
# In eager (pynative) mode `x += y` binds x to a new tensor, so the line that keeps the shortcut of a residual block,
# `shortcut = x`, is safe before `x += ...`. Compiled, the same cell gives another value, another gradient, and it
# changes the tensor of the caller. `x = x + y` is the same in both modes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile mindspore==2.10.0 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import mindspore as ms
import numpy as np
from mindspore import nn


class Residual(nn.Cell):
    def construct(self, x):
        x = x * 2
        shortcut = x
        x += 1
        return x + shortcut


class Sum(nn.Cell):
    def construct(self, x):
        total = x
        for _ in range(3):
            total += x
        return total


def one():
    return ms.Tensor(np.ones(1, np.float32))


seen = {}
for name, mode in (("eager", ms.PYNATIVE_MODE), ("graph", ms.GRAPH_MODE)):
    ms.set_context(mode=mode)
    given = one()
    seen[name] = {"residual": float(Residual()(one())), "sum": float(Sum()(given)), "the caller's 1 is now": float(given),
                  "gradient of sum": float(ms.grad(Sum())(one()))}
    print(ms.__version__, name, seen[name])
assert list(seen["eager"].values()) == [5, 4, 1, 4], "eager mode has changed"
assert list(seen["graph"].values()) == [6, 8, 8, 8], "graph mode has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
