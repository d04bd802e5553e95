#!/usr/bin/env bash
# OpenCV in Python: imdecode and imread hold an image twice while they decode it.
#
# Both decode into memory of OpenCV's own and copy that into the array that they return, so that the peak of an image of
# 8,000 x 8,000 pixels is 384 MB instead of 192. imread fills an array that it is given as `dst` (accepted, but not in
# its docstring) and needs half; imdecode takes no such array.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.11.0.86 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import os
import resource
import subprocess
import sys

import cv2
import numpy as np

SIDE = 8000


def peak_growth(way, file):
    """Copies of the image that the peak of a new process grows by."""
    data = np.fromfile(file, np.uint8)
    cv2.imdecode(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1], cv2.IMREAD_COLOR)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "imdecode":
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    elif way == "imread":
        image = cv2.imread(file, cv2.IMREAD_COLOR)
    else:
        given = np.empty((SIDE, SIDE, 3), np.uint8)
        image = cv2.imread(file, given, cv2.IMREAD_COLOR)
        assert np.shares_memory(image, given)
    assert image.shape == (SIDE, SIDE, 3)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / image.nbytes


if len(sys.argv) > 1:
    print(peak_growth(*sys.argv[1:]))
    sys.exit()
print("opencv", cv2.__version__)
for kind in "jpg", "png":
    name = os.path.join(os.path.dirname(__file__), f"image.{kind}")
    cv2.imwrite(name, np.zeros((SIDE, SIDE, 3), np.uint8))
    copies = {way: float(subprocess.check_output([sys.executable, __file__, way, name]))
              for way in ("imdecode", "imread", "imread with dst")}
    print(kind, ", ".join(f"{way}: {value:.2f} images" for way, value in copies.items()))
    assert copies["imdecode"] > 1.8, "imdecode has changed"
    assert copies["imread"] > 1.8, "imread has changed"
    assert copies["imread with dst"] < 1.2, "imread with dst has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
