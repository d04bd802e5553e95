"""Several views of an image: geometry there and back, union and suppression, and masks that are averaged."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.config import build, parse
from src.contract import InputError, Record
from src.maskrcnn.config import PRESETS, MaskRCNNConfig
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.suppression import suppress
from src.maskrcnn.views import MultiViewPredictor, View, scaled_side, views_of
from tests.tiny_seg import png

INPUT = Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3)


def test_the_views_and_their_inputs():
    views = views_of(Preprocess((768, 1280), (0.0,) * 3, (1.0,) * 3), (0.5, 1.0, 1.26), flip=True)
    assert [(view.preprocess.size, view.flip) for view in views] == [
        ((384, 640), False), ((384, 640), True), ((768, 1280), False), ((768, 1280), True), ((960, 1600), False),
        ((960, 1600), True)]  # 967.7 and 1612.8 pixels, as multiples of 32
    assert scaled_side(32, 0.1, "canvas") == 32
    assert scaled_side(800, 0.77, "short_side") == 616


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_go_there_and_back(flip):
    """An image of 32 x 48 pixels fills the input of 64 x 96."""
    view, boxes = View(INPUT, flip), np.array([[3, 5, 13, 25]], np.float32)
    there = view.from_image(boxes, (64, 96), (32, 48))
    assert there.tolist() == [[70, 10, 90, 50] if flip else [6, 10, 26, 50]]
    assert view.to_image(there, (64, 96), (32, 48)).tolist() == boxes.tolist()
    image = np.zeros((32, 48, 3), np.uint8)
    image[5:25, 3:13] = 255
    pixels, size = view.input(image)
    x1, y1, x2, y2 = there[0].astype(int)
    assert size == (64, 96)
    assert (pixels[:, y1 + 1:y2 - 1, x1 + 1:x2 - 1] == 255).all()
    assert pixels.sum() == pytest.approx(3 * 255 * (y2 - y1) * (x2 - x1), rel=0.1)


def test_greedy_suppression_literal():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 10, 5]], np.float32)
    labels, scores = np.array([1, 1, 2, 1, 1]), np.array([0.5, 0.9, 0.8, 0.1, 0.7])
    assert suppress(boxes, labels, scores, iou=0.5, limit=9).tolist() == [1, 2, 4, 3]  # IoU 9/11 and 45/105
    assert suppress(boxes, labels, scores, iou=0.4, limit=9).tolist() == [1, 2, 3]
    assert suppress(boxes, labels, scores, iou=0.5, limit=2).tolist() == [1, 2]
    assert suppress(boxes[:0], labels[:0], scores[:0], iou=0.5, limit=2).tolist() == []


class Seer:
    """A network that finds the rectangle of each gray value; its masks are that value's ramp from left to right.

    It sees 100 only where it is not mirrored, so that an object of one view is in the union too.
    """

    def __init__(self, slots: int = 5):
        self.slots, self.asked = slots, []

    def detect(self, image, image_size):
        boxes = np.zeros((len(image), self.slots, 4), np.float32)
        scores = boxes[..., 0].copy()
        for b, pixels in enumerate(image):
            values = [v for v in (250, 200, 100) if (abs(pixels[0] - v) < 1).sum() > 4]
            for k, value in enumerate(values):
                y, x = np.nonzero(abs(pixels[0] - value) < 1)
                boxes[b, k], scores[b, k] = (x.min(), y.min(), x.max() + 1, y.max() + 1), value / 255
                if value == 100 and x.min() > pixels.shape[2] / 2:
                    boxes[b, k], scores[b, k] = 0, 0
        return boxes, (scores > 0).astype(np.int32), scores, scores > 0, np.zeros((len(image), self.slots, 4, 4))

    def masks_of(self, image, boxes, labels):
        """What is at a quarter and three quarters of each box."""
        self.asked.append((image.shape, boxes.copy(), labels.copy()))
        masks = np.zeros((*labels.shape, 4, 4), np.float32)
        for b, k in zip(*np.nonzero(labels)):
            x1, y1, x2, y2 = boxes[b, k]
            x = (x1 + (np.arange(4) + 0.5) / 4 * (x2 - x1)).astype(int)
            y = (y1 + (np.arange(4) + 0.5) / 4 * (y2 - y1)).astype(int)
            masks[b, k] = image[b, 1][y[:, None], x] / 255
        return masks


def record(number: int, size: tuple[int, int]) -> Record:
    """Objects of gray 250 and 100 in the red channel; the green channel of the first is bright in its left half."""
    image = np.zeros((*size, 3), np.uint8)
    image[4:20, 4:20, 0], image[4:20, 4:12, 1] = 250, 255
    image[22:30, 2:10, 0], image[22:30, 2:10, 1] = 100, 255
    return Record(number, f"{number}.png", png(image), b"", f"list:{number}")


def predictor(seer: Seer, scales=(1.0,), *, flip=False, **options) -> MultiViewPredictor:
    return MultiViewPredictor(seer.detect, masks_of=seer.masks_of, views=views_of(INPUT, scales, flip=flip), iou=0.5,
                              preprocess=INPUT, **{"batch_size": 2, "limit": 5, "threshold": 0.5} | options)


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((1.0,), True), ((1.0, 2.0), True), ((0.5, 1.0), False)])
def test_objects_and_masks_of_all_views_come_back_into_the_image(scales, flip):
    seer = Seer()
    found = list(predictor(seer, scales, flip=flip)(record(k, size) for k, size in
                                                    [(1, (32, 48)), (2, (64, 96)), (3, (40, 30))]))
    assert [one.image_id for one in found] == [1, 2, 3]
    for one, size in zip(found, [(32, 48), (64, 96), (40, 30)]):
        assert len(one.scores) == 2  # views of one object are one; the second object is in some views alone
        np.testing.assert_allclose(one.boxes_image, [[4, 4, 20, 20], [2, 22, 10, 30]], atol=1.1)
        mask = coco_mask.decode(one.rles[0]).astype(bool)
        assert mask.shape == size
        assert mask[6:18, 5:10].all()  # the left half, whichever way round the view was
        assert not mask[:, 14:].any()
    views = len(scales) * (1 + flip)
    assert len(seer.asked) == 2 * views  # two batches
    assert all(image[0] == 2 for image, _, _ in seer.asked)


def test_masks_are_averaged():
    """Two views, of which one sees nothing: 0.5 everywhere, which is not above the threshold."""
    class Once(Seer):
        def masks_of(self, image, boxes, labels):
            return super().masks_of(image, boxes, labels) * (len(self.asked) % 2)

    one = next(iter(predictor(Once(), flip=True)([record(1, (32, 48))])))
    assert coco_mask.area(one.rles[0]) == 0
    one = next(iter(predictor(Once(), flip=True, threshold=0.49)([record(1, (32, 48))])))
    assert coco_mask.area(one.rles[0]) > 80


def test_the_limit_counts_after_the_union_and_boxes_alone_need_no_masks():
    seer = Seer()
    one = next(iter(predictor(seer, flip=True, limit=1, with_masks=False)([record(1, (32, 48))])))
    assert one.scores.tolist() == [pytest.approx(250 / 255)]
    assert (one.rles, seer.asked) == ([], [])


def test_an_image_without_objects():
    blank = Record(1, "1.png", png(np.zeros((32, 48, 3), np.uint8)), b"", "list:1")
    one = next(iter(predictor(Seer(), (0.5, 1.0), flip=True)([blank])))
    assert (len(one.scores), one.rles, one.boxes_image.shape) == (0, [], (0, 4))


def test_bad_values_are_refused():
    def read(*flags):
        return parse(MaskRCNNConfig, ["--num_classes=3", *flags], program="eval.py", groups=("common", "eval"),
                     presets=PRESETS)

    assert (read("--scales=0.5", "--scales=1", "--flip").scales, read("--flip").flip, read().flip) == (
        (0.5, 1.0), True, False)
    with pytest.raises(InputError, match="eval_mode=tiles with scales=1 and flip=True: .* leave scales and flip out"):
        read("--flip", "--eval_mode=tiles")
    with pytest.raises(InputError, match="--scales=.*greater than 0"):
        read("--scales=0")
    with pytest.raises(InputError, match="--scales=100.*less than or equal to 16"):
        read("--scales=100")


@pytest.mark.slow
def test_the_network_masks_its_own_detections_as_it_does_at_once(graph_mode):
    """`BoxMasks` of the boxes that the network found gives the masks that came with them; and one task does all."""
    from mindspore import Tensor

    from src.maskrcnn.network import BoxMasks
    from src.maskrcnn.task import MaskRCNNTask

    small = {"device_target": "CPU", "coco_classes": ("background", "a", "b"), "num_classes": 3, "norm": "group",
             "freeze_at": 0, "backbone": "resnet18", "fpn_out_channels": 8, "rpn_feat_channels": 8,
             "rcnn_fc_out_channels": 16, "rcnn_mask_out_channels": 8, "img_width": 96, "img_height": 64,
             "rpn_nms_pre": 50, "rpn_max_num": 20, "test_max_per_img": 5, "test_score_thr": 0.0, "checkpoint": "x"}
    task = MaskRCNNTask(build(MaskRCNNConfig, small | {"flip": True, "scales": (1.0, 2.0)}))
    network = task.network().set_train(False)
    image = Tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype(np.float32))
    boxes, labels, _, valid, masks = network(image, Tensor(np.full((2, 2), (64, 96), np.float32)))
    again = BoxMasks(network)(image, boxes, labels)
    assert valid.asnumpy().sum() > 2
    np.testing.assert_allclose((again * valid[..., None, None]).asnumpy(), masks.asnumpy(), atol=1e-6)
    found = list(task.predictor(network)([record(1, (32, 48))]))
    assert 0 < len(found[0].scores) <= 5
    assert type(task.predictor(network)) is MultiViewPredictor
