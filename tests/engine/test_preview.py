"""Pictures of what the network in training predicts."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from src.contract import LabelMap, Record
from src.data.decode import AS_STORED
from src.engine.position import Position
from src.engine.preview import COUNT, Preview


class Squares:
    """Ten black images, the truth of each a square of class 1."""

    def __len__(self):
        return 10

    def rows(self, sample_ids):
        self.asked = list(sample_ids)
        label = np.zeros((24, 24), np.uint8)
        label[6:18, 6:18] = 1
        for k in self.asked:
            yield Record(k, f"{k}.png", *(cv2.imencode(".png", a)[1].tobytes()
                                          for a in (np.zeros((24, 24, 3), np.uint8), label)), f"squares:{k}")


@pytest.fixture
def preview(tmp_path):
    dataset = Squares()
    task = SimpleNamespace(class_names=("background", "square"), dataset=lambda split: {"val": dataset}[split],
                           preprocess=SimpleNamespace(decoding=AS_STORED))
    predicted = []

    def predict(records):
        predicted.append([record.image_id for record in records])
        return [LabelMap(0, np.full((24, 24), len(predicted) % 2, np.uint8)) for _ in records]

    return Preview(task, predict, Position(5, 30, 0), tmp_path / "preview.jpg", interval=2), predicted


def test_a_picture_every_second_epoch_of_images_from_all_over_the_split(preview):
    callback, predicted = preview
    drawn = []
    for _ in range(25):
        callback.position.advance(1)
        callback.on_train_step_end(None)
        if len(predicted) > len(drawn):
            drawn.append((callback.position.step, cv2.imread(str(callback.path))))
    assert predicted == [[0, 2, 4, 5, 7, 9]] * 2
    assert len(predicted[0]) == COUNT
    (first, picture), (second, later) = drawn
    assert (first, second) == (10, 20)
    assert picture.shape == later.shape
    assert picture.shape[0] > COUNT * 200
    assert np.abs(picture.astype(int) - later).max() > 50  # the prediction changed
    assert [p.name for p in callback.path.parent.iterdir()] == ["preview.jpg"]
