"""A row of pictures: what is drawn of truth and prediction, and where."""
import numpy as np

from src.contract import Instances, LabelMap, Record
from src.data.instance.target import Category, compress, encode_categories, encode_instances, encode_target
from src.report import rows
from tests.tiny_coco import POLYGON, RUNS, annotation
from tests.tiny_seg import jpeg, png

NAMES = ("background", "dog")
BLACK = jpeg(np.zeros((24, 32, 3), np.uint8))
RLE = compress(RUNS, (24, 32))


def record(*instances: dict) -> Record:
    categories = encode_categories([Category(1, 3, "dog")])
    labelled = [{"label": 1} | instance for instance in instances]
    return Record(7, "7.jpg", BLACK, encode_target(7, (24, 32), categories, encode_instances(labelled)))


def found(*scores: float) -> Instances:
    return Instances(7, np.array([[4, 6, 12, 11]] * len(scores), np.float32), np.ones(len(scores), np.int32),
                     np.array(scores, np.float32), [RLE] * len(scores))


def coloured(picture: np.ndarray) -> np.ndarray:
    return picture.max(-1) > 40


def test_instances_have_image_truth_and_prediction_at_ten_times_the_size():
    image, truth, prediction = rows.row(record(annotation(1, 7, segmentation=POLYGON)), found(0.9), NAMES, 320)
    assert image.shape == truth.shape == prediction.shape == (240, 320, 3)
    assert not coloured(image).any()
    for picture in (truth, prediction):
        assert coloured(picture)[60:110, 40:120].all()
        assert not coloured(picture)[111:].any()
        assert not coloured(picture)[:, 121:].any()


def test_unsure_detections_and_crowds_are_not_drawn():
    crowd = annotation(1, 7, iscrowd=1, segmentation=RLE)
    _, truth, prediction = rows.row(record(crowd), found(0.4), NAMES, 320)
    assert not coloured(truth).any()
    assert not coloured(prediction).any()


def test_boxes_without_masks_are_drawn():
    without = {key: value for key, value in annotation(1, 7).items() if key != "segmentation"}
    prediction = Instances(7, np.array([[4, 6, 12, 11]], np.float32), np.array([1]), np.array([0.9], np.float32))
    for picture in rows.row(record(without), prediction, NAMES, 320)[1:]:
        assert coloured(picture).any()
        assert not coloured(picture)[62:108, 42:118].any()  # empty inside


def test_label_maps_have_four_pictures():
    truth = np.zeros((24, 32), np.uint8)
    prediction = LabelMap(7, truth + 1)
    pictures = rows.row(Record(7, "7.jpg", BLACK, png(truth)), prediction, NAMES, 320)
    assert len(pictures) == len(rows.titles(prediction)) == 4
    assert len(rows.titles(found())) == 3
