#!/usr/bin/env bash
# MindSpore: the metric mindspore.train.Dice gives 1 / N for a perfect prediction in batches of N images.
#
# Its documentation says that 1 is the best value. An update adds one coefficient, of the whole batch as one set of pixels,
# but counts the length of the first axis as samples, and eval() divides by that. So the value falls with the batch size,
# and two runs compare only if they were evaluated with the same one.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile mindspore==2.10.0 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import mindspore as ms
import numpy as np
from mindspore.train import Dice


def dice(batch_size, images=8):
    metric = Dice()
    metric.clear()
    masks = np.zeros((images, 4, 4), np.float32)
    masks[:, :2] = 1
    for first in range(0, images, batch_size):
        batch = ms.Tensor(masks[first:first + batch_size])
        metric.update(batch, batch)
    return metric.eval()


seen = {batch_size: round(dice(batch_size), 3) for batch_size in (1, 2, 4, 8)}
print(ms.__version__, "Dice of 8 perfect predictions by batch size:", seen)
assert seen == {1: 1.0, 2: 0.5, 4: 0.25, 8: 0.125}, "Dice has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
