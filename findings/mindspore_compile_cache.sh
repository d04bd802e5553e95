#!/usr/bin/env bash
# MindSpore: the compile cache serves the graph of another value, and graphs change places with the order of compilation.
#
# MS_COMPILER_CACHE_ENABLE=1 keeps compiled graphs from process to process. An entry's name is the number of the graph
# in its process, and what is compared are the entry script and the files that it imports. A cell's constant from the
# command line, or a dilation from a configuration file, is neither: the second process gets the first one's graph, with
# a line in the log at most. Training goes on with the wrong network.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile mindspore==2.10.0 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import sys

import mindspore as ms
import numpy as np
from mindspore import nn


class Times(nn.Cell):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def construct(self, x):
        return x * self.factor


class Dilated(nn.Cell):
    def __init__(self, dilation):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, dilation=dilation, pad_mode="same", weight_init="ones")

    def construct(self, x):
        return self.conv(x)


ms.set_context(mode=ms.GRAPH_MODE)
kind, *values = sys.argv[1:]
one = ms.Tensor(np.eye(5, dtype=np.float32)[None, None])
for value in values:
    cell = Times(float(value)) if kind == "times" else Dilated(int(value))
    print(f"{value}:{cell(one).asnumpy()[0, 0, 2].astype(int).tolist()}", end=" ")
PYTHON
run() {
    MS_COMPILER_CACHE_ENABLE=$1 MS_COMPILER_CACHE_PATH=$folder/$2 GLOG_v=3 \
        "$folder/bin/python" "$folder/finding.py" "${@:3}"
}
expect() {
    echo "$1: $3"
    "$folder/bin/python" -c '
import sys
assert sys.argv[1].split() == sys.argv[2].split(), "has changed: expected " + sys.argv[1]' "$2" "$3"
}
expect "times 2, stored            " "2.0:[0, 0, 2, 0, 0]" "$(run 1 a times 2.0)"
expect "times 5, from the cache    " "5.0:[0, 0, 2, 0, 0]" "$(run 1 a times 5.0)"
expect "times 5, without the cache " "5.0:[0, 0, 5, 0, 0]" "$(run 0 a times 5.0)"
expect "2 and 3, stored            " "2.0:[0, 0, 2, 0, 0] 3.0:[0, 0, 3, 0, 0]" "$(run 1 b times 2.0 3.0)"
expect "3 and 2, from the cache    " "3.0:[0, 0, 2, 0, 0] 2.0:[0, 0, 3, 0, 0]" "$(run 1 b times 3.0 2.0)"
stored=$(run 1 c conv 1)
expect "dilation 2, from the cache " "2:${stored#1:}" "$(run 1 c conv 2)"
[[ $(run 0 c conv 2) != "2:${stored#1:}" ]] || { echo "has changed: dilation 2 is dilation 1"; exit 1; }
echo "dilation 2, without the cache: $(run 0 c conv 2)"
