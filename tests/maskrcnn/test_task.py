"""The task: where its data comes from, what its predictor returns, and a small run from training to COCO's numbers."""
import src  # noqa: F401  isort: skip
import json
import logging
import re

import cv2
import mindspore.nn as nn
import numpy as np
import pytest

from src.contract import InputError, Record
from src.data.instance.target import decode_target
from src.data.practice.sample_set import write_sample_set
from src.engine import loop
from src.engine.runtime import Runtime
from src.maskrcnn import COLUMNS, LOSS_NAMES, nms
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.inference import Predictor
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.task import MaskRCNNTask
from tests.tiny_seg import png

TINY = {"device_target": "CPU", "img_width": 64, "img_height": 64, "backbone": "resnet18", "norm": "batch",
        "fpn_out_channels": 8, "rpn_feat_channels": 8, "rcnn_fc_out_channels": 16, "rcnn_mask_out_channels": 8,
        "max_instance_count": 6, "mask_crop_size": 14, "rpn_proposal_nms_pre": 40, "rpn_proposal_max_num": 30,
        "rpn_nms_pre": 40, "rpn_max_num": 20, "num_expected_neg": 16, "num_expected_pos": 8,
        "num_expected_neg_stage2": 8, "num_expected_pos_stage2": 4, "test_max_per_img": 5, "test_score_thr": 0.0,
        "epochs": 1, "lr_epochs": 0, "warmup_steps": 2, "base_lr": 0.005}
SHAPES = ("background", "disc", "triangle", "square", "ring", "star")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "set"
    write_sample_set(root, train=4, val=3)
    return root


def config(**values) -> MaskRCNNConfig:
    return MaskRCNNConfig(**TINY | values).completed()


def task(**values) -> MaskRCNNTask:
    return MaskRCNNTask(config(**values))


def test_classes_come_from_the_data_or_are_chosen(data):
    assert config(coco_root=str(data)).coco_classes == SHAPES
    assert config(coco_root=str(data)).num_classes == 6
    chosen = task(coco_root=str(data), coco_classes=("background", "star"))
    assert chosen.dataset("train").class_names == ("background", "star")
    assert chosen.config.num_classes == 2
    with pytest.raises(InputError, match="num_classes=9.* 6 classes.*background, disc"):
        config(coco_root=str(data), num_classes=9)
    with pytest.raises(InputError, match="train data.* missing.*--coco_root=DIR"):
        config()
    with pytest.raises(InputError, match="--num_classes is missing: the text files of dataset=other"):
        config(dataset="other", anno_path="list.txt")


def test_splits_of_a_coco_layout(data):
    both = task(coco_root=str(data))
    assert (len(both.dataset("train")), len(both.dataset("val"))) == (4, 3)
    ann_file = data / "annotations/instances_val2017.json"
    alone = task(checkpoint="a.ckpt", ann_file=str(ann_file))
    assert len(alone.dataset("val")) == 3
    assert alone.class_names == SHAPES
    elsewhere = task(checkpoint="a.ckpt", ann_file=str(ann_file), image_dir=str(data / "JPEGImages"))
    assert elsewhere.dataset("val").image_dir == str(data / "JPEGImages")


def test_splits_of_text_files(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    for name, line in (("train.txt", "a.png 1,2,10,12,1\n"), ("val.txt", "a.png 1,2,10,12,2\n")):
        (tmp_path / name).write_text(line)
    both = task(dataset="other", image_dir=str(tmp_path), anno_path=str(tmp_path / "train.txt"),
                val_anno_path=str(tmp_path / "val.txt"), num_classes=3)
    labels = [decode_target(next(both.dataset(split).rows([0])).target).labels.tolist() for split in ("train", "val")]
    assert labels == [[1], [2]]
    assert both.class_names == ("background", "class_1", "class_2")
    assert both.predictor(both.network()).paste["with_masks"] is False
    with pytest.raises(InputError, match="val data: dataset=other needs --anno_path=FILE"):
        task(dataset="other", num_classes=3).dataset("val")


def test_the_training_columns_are_those_of_the_contract(data):
    small = task(coco_root=str(data))
    record = next(small.dataset("train").rows([0]))
    arrays = small.train_augmentation()(record.image, record.target, np.random.default_rng(0))
    assert len(arrays) == len(COLUMNS) - 2 == len(small.columns) - 2
    assert small.loss_names == LOSS_NAMES
    assert [a.shape for a in arrays] == [(3, 64, 64), (2,), (6, 4), (6,), (6,), (6,), (6, 14, 14), (6,)]


def detect(image: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, ...]:
    """One detection an image: all of its part of the input, with the mean of its pixels as score."""
    count = len(image)
    boxes = np.concatenate([np.zeros((count, 2)), image_size[:, ::-1]], 1)[:, None].astype(np.float32)
    scores = image.mean((1, 2, 3))[:, None]
    return boxes, np.ones((count, 1), int), scores, np.ones((count, 1), bool), np.ones((count, 1, 28, 28), np.float32)


@pytest.mark.parametrize("rule", ["canvas", "short_side"])
def test_predictions_come_in_order_in_their_images_frame(rule):
    """Five images, batches of two, landscape and portrait: the last batch is partial."""
    sizes = [(20, 40), (40, 20), (30, 30), (50, 25), (10, 40)]
    records = [Record(10 + k, f"{k}.png", png(np.full((*size, 3), 40 * k + 9, np.uint8)), b"")
               for k, size in enumerate(sizes)]
    preprocess = Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3, rule=rule)
    found = list(Predictor(detect, preprocess=preprocess, batch_size=2, paste_pad=None, threshold=0.5)(iter(records)))
    assert [f.image_id for f in found] == [10, 11, 12, 13, 14]
    for size, one in zip(sizes, found):
        np.testing.assert_allclose(one.boxes_image, [[0, 0, size[1], size[0]]], atol=0.01)
        assert one.rles[0]["size"] == list(size)
    assert found[4].scores[0] > found[0].scores[0]


@pytest.mark.parametrize(("device", "mode", "expected"), [
    ("CPU", {}, 4), ("CPU", {"eval_mode": "tiles"}, 1), ("Ascend", {"eval_mode": "tiles"}, 4)])
def test_tiles_go_one_by_one_where_batches_take_longer(device, mode, expected):
    one = task(coco_classes=SHAPES, test_batch_size=4, device_target=device, box_ops="primitive", **mode)
    assert one.predictor(nn.Cell()).batch_size == expected


def test_an_unreadable_image_is_named():
    broken = Record(3, "b.jpg", b"no image", b"", "val.json: image 3")
    with pytest.raises(InputError, match="val.json: image 3: b.jpg"):
        list(Predictor(detect, preprocess=Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3), batch_size=2)([broken]))


def test_memory_grows_with_what_it_is_made_of():
    base = task(coco_classes=SHAPES).activation_bytes()
    for change in ({"batch_size": 4}, {"img_width": 128}, {"fpn_out_channels": 64}, {"backbone": "resnet50"},
                   {"num_expected_neg_stage2": 99}, {"num_mask_rois": 99}, {"max_instance_count": 600},
                   {"norm": "group"}):
        assert task(coco_classes=SHAPES, **change).activation_bytes() > base, change
    assert "--batch_size=2" in task(coco_classes=SHAPES).memory_flags()


@pytest.mark.slow
def test_boxes_that_suppression_leaves_undecided_are_counted_in_the_log(data, monkeypatch, caplog):
    detecting = task(coco_root=str(data), box_ops="plain")
    network, records = detecting.network(), list(detecting.dataset("val").rows([0]))
    with caplog.at_level(logging.WARNING):
        list(detecting.predictor(network)(records))
    assert "undecided" not in caplog.text
    monkeypatch.setattr(nms, "ROUNDS", 0)
    monkeypatch.setattr(nms, "PASSES", 1)
    with caplog.at_level(logging.WARNING):
        list(detecting.predictor(network)(records))
    assert re.search(r"suppression left undecided_boxes=[1-9]\d* in a batch of \d+ images", caplog.text)


@pytest.mark.slow
@pytest.mark.usefixtures("graph_mode")
def test_a_run_from_training_to_numbers(data, tmp_path):
    """Train, evaluate during training, start another task from the result: all but the predictors is taken over."""
    first = task(coco_root=str(data), output_dir=str(tmp_path / "a"), eval_interval=1, preview_interval=2,
                 epochs=2)
    last = loop.train(first, first.config, Runtime("CPU"))
    assert last.name == "mask_rcnn_r50-2_2.ckpt"
    assert (tmp_path / "a/mask_rcnn_r50_best.ckpt").exists()
    assert cv2.imread(str(tmp_path / "a/preview.jpg")) is not None
    lines = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line[name]) for line in lines if line["kind"] == "train" for name in LOSS_NAMES)
    evaluated = [line for line in lines if line["kind"] == "eval"]
    assert len(evaluated) == 2
    assert {"ap", "bbox_AP50", "segm_AP50"} <= set(evaluated[0])
    assert evaluated[0]["images"] == 3
    assert (tmp_path / "a/loss_0.log").read_text().startswith("epoch:1 step:2 ,rpn_loss:")

    other = task(coco_root=str(data), coco_classes=("background", "star"), pretrained=str(last), norm="batch",
                 freeze_at=0)
    network = other.network()
    loop.load_pretrained(other, other.config, network)
    trained = {k: v.asnumpy() for k, v in loop.checkpoint.load(last)[0].items()}
    same = {p.name for p in network.get_parameters()
            if p.name in trained and p.shape == trained[p.name].shape and (p.asnumpy() == trained[p.name]).all()}
    fresh = {p.name for p in network.get_parameters()} - same
    assert {name.rsplit(".", 1)[0] for name in fresh} <= {"box_head.cls", "box_head.reg", "mask_head.predict"}
    assert {"box_head.cls.weight", "box_head.reg.weight", "mask_head.predict.weight"} <= fresh

    numbers = loop.evaluate_split(first, first.network(), first.dataset("val"), Runtime("CPU"))
    text = first.describe(numbers.compute())
    assert "Evaluate annotation type *bbox*" in text
    assert "Evaluate annotation type *segm*" in text
    assert "star" in text
    boxes, masks = (first.results(numbers)[kind] for kind in ("bbox", "segm"))
    assert len(boxes) == len(masks) <= 15
    assert {"image_id", "category_id", "bbox", "score"} == set(boxes[0])
