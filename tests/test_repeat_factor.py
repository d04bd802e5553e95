"""repeat_factor_threshold of both models: rare classes are found in their data, for training alone."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest

from src.data import order
from src.data.repeats import repeats_of
from src.engine.settings import Settings
from tests.tiny_coco import annotation, content, write_coco
from tests.tiny_seg import image, jpeg, png

ROOTS = np.sqrt(0.5 / np.array([0.2, 0.4]))  # of a class in one image of five, and in two


def mask_rcnn(root):
    """Five images with dogs and cats in four; a fish in the third, and a crowd of fish in the fourth."""
    from src.config import build
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask

    data = content(5)
    data["annotations"] += [annotation(1, 30, 12), annotation(2, 40, 12, iscrowd=1, segmentation={
        "size": [24, 32], "counts": [4 * 24 + 6, *[5, 19] * 7, 5, 24 * 20 + 13]})]
    for split in ("train", "val"):
        write_coco(root, data, split=split)
    config = build(MaskRCNNConfig, {"coco_root": str(root), "train_data_type": "train", "val_data_type": "val",
                                    "device_target": "CPU", "repeat_factor_threshold": 0.5})
    return MaskRCNNTask(config.completed()), [1, 1, ROOTS[0], 1, 1]


def deeplabv3(root):
    """Five images; a pixel of class 1 in the first two, one of class 2 in the second, background everywhere."""
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for k in range(5):
        label = np.zeros((12, 16), np.uint8)
        label[0, :2] = [(1, 255), (1, 2), (0, 255), (0, 0), (0, 0)][k]
        (root / f"images/{k}.jpg").write_bytes(jpeg(image(k, 12, 16)))
        (root / f"labels/{k}.png").write_bytes(png(label))
    (root / "list.txt").write_text("".join(f"images/{k}.jpg labels/{k}.png\n" for k in range(5)))
    config = DeepLabV3Config(data_root=str(root), data_lst=str(root / "list.txt"), num_classes=3, crop_size=33,
                             device_target="CPU", repeat_factor_threshold=0.5, val_data_lst=str(root / "list.txt"))
    return DeepLabV3Task(config), [ROOTS[1], ROOTS[0], 1, 1, 1]


@pytest.mark.parametrize("make", [mask_rcnn, deeplabv3])
def test_images_of_rare_classes_are_repeated_in_training_alone(tmp_path, make):
    task, expected = make(tmp_path)
    dataset = task.dataset("train")
    np.testing.assert_allclose(repeats_of(dataset), expected)
    assert len(dataset) == int(sum(expected))
    assert repeats_of(task.dataset("val")) is None


def test_the_learning_rate_follows_the_longer_epochs(tmp_path):
    """Repeats of 5.70 samples make epochs of 5: two batches of 2. Three epochs are six updates, down to near 0."""
    from src.engine.build import update_rates

    task, _ = deeplabv3(tmp_path)
    dataset = task.dataset("train")
    per_epoch = order.steps_per_epoch(len(dataset), 2)
    assert (len(dataset), per_epoch) == (5, 2)
    rates = update_rates(Settings(epochs=3, base_lr=1.0), per_epoch, 1)
    assert len(rates) == 6
    assert rates[-1] < 0.1 < rates[0]
