#!/usr/bin/env bash
# Pillow: a BMP of 8 bits a pixel whose palette holds black and white alone is read as all black.
#
# Tools write binary masks like that: one byte a pixel, indices 0 and 1, a palette of two colours. Pillow takes such a
# palette for a sign of mode "1" but keeps reading bytes: the array is False everywhere, without a warning. With a third
# palette entry, which no pixel uses, the same file opens in mode "P" with its indices. OpenCV reads both.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==4.11.0.86 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import io
import struct

import cv2
import numpy as np
import PIL
from PIL import Image

mask = np.zeros((4, 8), np.uint8)  # rows of 8 bytes need no padding
mask[1:3, 2:5] = 1


def bmp(colours):
    """An uncompressed bottom-up BMP with a BITMAPINFOHEADER, 8 bits a pixel."""
    palette = b"".join(bytes([value, value, value, 0]) for value in colours)
    start, height, width = 14 + 40 + len(palette), *mask.shape
    return (struct.pack("<2sIHHI", b"BM", start + mask.size, 0, 0, start)
            + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, mask.size, 2835, 2835, len(colours), 0)
            + palette + mask[::-1].tobytes())


print("pillow", PIL.__version__, "opencv", cv2.__version__)
seen = {}
for colours in ((0, 255), (0, 255, 128)):
    data = bmp(colours)
    picture = Image.open(io.BytesIO(data))
    seen[len(colours)] = np.asarray(picture)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    print(f"{len(colours)} colours: Pillow's mode {picture.mode}, {np.count_nonzero(seen[len(colours)])} pixels of the mask; "
          f"OpenCV {np.count_nonzero(other)} of {mask.sum()}")
    assert (np.squeeze(other[..., 0] if other.ndim == 3 else other) == mask * 255).all()
assert not seen[2].any(), "Pillow now sees the mask"
assert (seen[3] == mask).all(), "Pillow has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
