"""Large images through a network that paints: what it finds in the tiles becomes what is in the image."""
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import InputError, Record
from src.maskrcnn import inference
from src.maskrcnn.inference import Predictor, TiledPredictor
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.tiles import Tiling
from tests.conftest import watch_decoding
from tests.maskrcnn.test_merge import assert_same, block
from tests.tiny_seg import png

SLOTS = 12
INPUT = Preprocess((40, 50), (0.0,) * 3, (1.0,) * 3)


class Seer:
    """A network that finds the blocks of one gray value in its input, and remembers the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, image: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, ...]:
        self.batches.append(len(image))
        boxes, scores = np.zeros((len(image), SLOTS, 4), np.float32), np.zeros((len(image), SLOTS), np.float32)
        for b, pixels in enumerate(image):
            for k, value in enumerate(np.unique(pixels[0].round())[::-1]):
                if value > 0:
                    y, x = np.nonzero(pixels[0].round() == value)
                    boxes[b, k], scores[b, k] = (x.min(), y.min(), x.max() + 1, y.max() + 1), value / 255
        return boxes, (scores > 0).astype(int), scores, scores > 0, np.ones((len(image), SLOTS, 28, 28), np.float32)


def record(number, masks, size):
    image = np.zeros((*size, 3), np.uint8)
    for k, mask in enumerate(masks, 1):
        image[mask] = 20 * k
    return Record(number, f"{number}.png", png(image), b"", f"list:{number}")


def predictor(**options):
    return TiledPredictor(Seer(), tiling=Tiling((40, 50), 16), preprocess=INPUT,
                          **{"batch_size": 3, "paste_pad": None, "threshold": 0.5} | options)


def test_objects_on_seams_and_corners_of_several_images():
    """Images of many tiles, of one, and of a strip; batches of three tiles."""
    sizes = {1: (100, 130), 2: (40, 50), 3: (20, 90), 4: (41, 51)}
    masks = {1: [block(20, 30, 10, 10), block(39, 33, 16, 16), block(24, 70, 8, 15), block(60, 5, 8, 110)],
             2: [block(3, 4, 20, 30, sizes[2])], 3: [block(2, 30, 12, 15, sizes[3])], 4: []}
    predict = predictor()
    found = list(predict(record(k, masks[k], size) for k, size in sizes.items()))
    assert [one.image_id for one in found] == [1, 2, 3, 4]
    for one in found:
        assert_same(one, masks[one.image_id], [1] * len(masks[one.image_id]))
    assert set(predict.detect.batches) == {3}


def test_tiles_may_be_enlarged_for_the_network():
    def detect(image: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, ...]:
        return see((image > 10).astype(np.float32), image_size)  # halfway up the edges

    see, shape = Seer(), block(39, 33, 16, 16)
    predict = TiledPredictor(detect, tiling=Tiling((40, 50), 16), batch_size=2,
                             preprocess=Preprocess((80, 100), (0.0,) * 3, (1.0,) * 3))
    assert_same(next(predict([record(1, [shape], (100, 130))])), [shape], [1])


def test_an_image_of_one_tile_is_predicted_as_a_whole_would_be():
    small = [record(k, [block(3, 4 + k, 20, 22, (35, 50)), block(9, 2, 5, 5, (35, 50))], (35, 50)) for k in range(5)]
    whole = Predictor(Seer(), preprocess=INPUT, batch_size=3, paste_pad=None, threshold=0.5)
    tiles = predictor()
    for one, other in zip(whole(small), tiles(small)):
        assert one.rles == other.rles
        for name in ("boxes_image", "scores", "labels"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert len(tiles.detect.batches) == 2  # five images of one tile share two batches


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_image_is_in_memory_at_a_time_and_none_while_its_instances_are_used(batch_size, monkeypatch):
    decoded = watch_decoding(inference, monkeypatch)
    records = [record(k, [block(20, 30, 10, 10)], (100, 130)) for k in range(3)]
    predict = predictor(batch_size=batch_size)
    for count, found in enumerate(predict(records), 1):
        assert decoded[count - 1]() is None
        assert len(found.scores) == 1
    tiles = 3 * len(predict.tiling.tiles((100, 130)))
    assert predict.detect.batches == [batch_size] * -(-tiles // batch_size)  # filled across images


def test_without_masks_and_with_a_limit():
    blocks = [block(20, 30, 10, 10), block(60, 5, 8, 110)]
    found, = predictor(with_masks=False, limit=1)([record(1, blocks, (100, 130))])
    assert found.rles == []
    assert found.boxes_image.tolist() == [[5, 60, 115, 68]]


def test_published_pasting_rules_work_in_the_tiles_frame():
    found, = predictor(paste_pad=1)([record(1, [block(39, 33, 16, 16)], (100, 130))])
    y, x = np.nonzero(coco_mask.decode(found.rles[0]))
    assert abs(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - found.boxes_image[0]).max() <= 1


def test_an_unreadable_image_is_named():
    with pytest.raises(InputError, match=r"list:7: 7\.jpg is not an image"):
        list(predictor()([Record(7, "7.jpg", b"no image", b"", "list:7")]))


HUGE = """
import re, sys
import numpy as np
from pathlib import Path
from src.contract import Record
from src.maskrcnn.inference import TiledPredictor
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.tiles import Tiling

def detect(image, size):
    corners = np.random.default_rng(int(image.sum()) % 97).uniform(0, 200, (len(image), 8, 2))
    boxes = np.concatenate([corners, corners + 50], 2).astype(np.float32)
    shape = boxes.shape[:2]
    return boxes, np.ones(shape, int), np.full(shape, .5), np.ones(shape, bool), np.ones((*shape, 28, 28), np.float32)

predict = TiledPredictor(detect, tiling=Tiling((1024, 1024), 256), batch_size=4, paste_pad=None, threshold=0.5,
                         preprocess=Preprocess((256, 256), (0.0,) * 3, (1.0,) * 3))
data = Path(sys.argv[1]).read_bytes()
counts = [len(found.rles) for found in predict(Record(k, "", data, b"") for k in range(2))]
# Not getrusage's peak: a child process starts with that of its parent.
print(*counts, re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_images_of_14000_pixels_stay_below_1_6_gb(tmp_path):
    """With thousands of objects; an image has 0.6 GB, and its decoder needs as much again."""
    row = np.random.default_rng(0).integers(0, 255, (14000, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "huge.png"), np.broadcast_to(row, (14000, 14000, 3)), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    ran = subprocess.run([sys.executable, "-c", HUGE, tmp_path / "huge.png"], capture_output=True, text=True,
                         cwd=Path(__file__).parents[2], check=True)
    first, second, peak = map(int, ran.stdout.split())
    assert first == second > 1000
    assert 0.6e9 < peak * 1024 < 1.6e9
