#!/usr/bin/env bash
# OpenCV: resize(fx=, fy=) and resize(dsize=) to the same size are different pictures.
#
# With dsize the grid follows from the two sizes. With factors OpenCV rounds the size and still samples at 1 / fx, so that
# the grid does not fit the picture: 10 pixels by 0.75 become 8, spaced by 1.33 instead of 1.25, and the last one repeats
# the border. Boxes scaled by new size / old size fit only the first. Halves of pixels round to even: 0.25 gives 2, 0.75 8.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.11.0.86 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import cv2
import numpy as np

ramp = np.arange(10, dtype=np.float32)[None]
by_factor = cv2.resize(ramp, None, fx=0.75, fy=1)[0]
by_size = cv2.resize(ramp, (by_factor.size, 1))[0]
sizes = {f: cv2.resize(ramp, None, fx=f, fy=1).shape[1] for f in (0.25, 0.35, 0.75)}
print("opencv", cv2.__version__)
print("fx=0.75 :", by_factor.round(3).tolist())
print("dsize=8 :", by_size.round(3).tolist())
print("pixels of 10 by factor:", sizes)
assert np.allclose(np.diff(by_factor)[:6], 4 / 3, atol=1e-3), "the grid of fx has changed"
assert by_factor[-1] == 9, "the last pixel no longer repeats the border"
assert np.allclose(np.diff(by_size), 1.25, atol=1e-3), "the grid of dsize has changed"
assert sizes == {0.25: 2, 0.35: 4, 0.75: 8}, "rounding has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
