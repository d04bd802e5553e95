#!/usr/bin/env bash
# OpenCV: a 16-bit TIFF whose photometric tag says "white is zero" is inverted when read as 8-bit colour, and as stored
# otherwise; Pillow never inverts it.
#
# So IMREAD_COLOR and IMREAD_UNCHANGED of one file are not one picture in two depths: 3000 becomes 244, not 11.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==1.26.4 pillow==12.0.0 opencv-python-headless==4.11.0.86
cat >"$folder/finding.py" <<'PYTHON'
import io

import cv2
import numpy as np
import PIL
from PIL import Image

print("opencv", cv2.__version__, "pillow", PIL.__version__)
seen = {}
for name, tag in (("white is zero", 0), ("black is zero", 1)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 9), 3000, np.uint16)).save(buffer, "TIFF", tiffinfo={262: tag})
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    seen[name] = (int(np.asarray(Image.open(buffer))[0, 0]), int(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[0, 0]),
                  int(cv2.imdecode(data, cv2.IMREAD_COLOR)[0, 0, 0]))
    print(f"{name}: pillow {seen[name][0]}, unchanged {seen[name][1]}, colour {seen[name][2]}")
assert seen == {"white is zero": (3000, 3000, 244), "black is zero": (3000, 3000, 11)}, "the readers have changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
