#!/usr/bin/env bash
# MindSpore: an image transform computes something else for a PIL image than for the array with the same pixels.
#
# `mindspore.dataset.vision` takes both. An array goes to its C++ operators, a PIL image to Pillow. Resize then smooths
# before it makes an image smaller, or does not; CenterCrop with an odd remainder cuts one row and column elsewhere; and
# Equalize maps to other levels. Which of them runs follows from the transforms before, for example Decode(to_pil=True).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile mindspore==2.10.0 numpy==1.26.4 pillow==12.3.0
cat >"$folder/finding.py" <<'PYTHON'
import mindspore
import numpy as np
from mindspore.dataset import vision
from PIL import Image

pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
seen = {}
for transform in (vision.Resize((16, 16)), vision.CenterCrop(33), vision.Equalize(), vision.HorizontalFlip()):
    results = [np.asarray(transform(image)).astype(int) for image in (pixels, Image.fromarray(pixels))]
    assert results[0].shape == results[1].shape
    seen[type(transform).__name__] = int(np.abs(results[0] - results[1]).max())
print(mindspore.__version__, "largest difference between array and PIL image, grey levels of 255:", seen)
corner = np.asarray(vision.CenterCrop(33)(pixels))
assert (corner == pixels[16:49, 16:49]).all() or (corner == pixels[15:48, 15:48]).all()
print("CenterCrop(33) of 64 starts at", 16 if (corner == pixels[16:49, 16:49]).all() else 15, "in arrays")
assert seen["HorizontalFlip"] == 0
assert seen["Resize"] > 50, "Resize has changed"
assert seen["CenterCrop"] > 50, "CenterCrop has changed"
assert seen["Equalize"] > 5, "Equalize has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
