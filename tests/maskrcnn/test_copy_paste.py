"""Objects pasted from another image: pixels by their masks, what lies under them, and what is never pasted."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.data import order
from src.data.instance.coco import CocoDataset
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.data.pipeline import augmented_batch, training_batches
from src.data.records.mindrecord import RecordDataset, build
from src.maskrcnn import COLUMNS
from src.maskrcnn.augmentation import HIDDEN, NOT_PASTED, TrainAugmentation
from src.maskrcnn.preprocess import Preprocess
from tests.maskrcnn.test_placed import instance
from tests.tiny_coco import content, write_coco
from tests.tiny_seg import png

SIZE = (64, 96)  # of the images and of the canvas: nothing is scaled
CLASSES = encode_categories((Category(1, 1, "a"), Category(2, 2, "b")))
OWN, OTHER = 10, 200  # gray values of the two images


def augmentation(num_classes: int = 3, **options) -> TrainAugmentation:
    plain = {"flip_ratio": 0.0, "photo_ratio": 0.0, "expand_ratio": 0.0, "max_instances": 6, "mask_side": 8}
    return TrainAugmentation(Preprocess(SIZE, (0.0,) * 3, (1.0,) * 3), num_classes, **plain | options)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def sample(gray: int, *instances: dict) -> tuple[bytes, bytes]:
    return (png(np.full((*SIZE, 3), gray, np.uint8)), encode_target(1, SIZE, CLASSES, encode_instances(instances)))


def pasted(own: list[dict], other: list[dict], seed: int = 0, **options) -> tuple[dict, TrainAugmentation]:
    one = augmentation(copy_paste_ratio=1.0, **options)
    values = one(*sample(OWN, *own), np.random.default_rng(seed), sample(OTHER, *other))
    return dict(zip(COLUMNS[:-2], values, strict=True)), one


def boxes(got: dict) -> list[list[float]]:
    return got["gt_boxes"][got["gt_valid"]].tolist()


def test_pixels_follow_the_mask_and_its_hole():
    ring = rectangle(40, 10, 60, 30) & ~rectangle(45, 15, 55, 25)
    got, _ = pasted([], [instance(ring, label=2)])
    np.testing.assert_array_equal(got["image"], np.where(ring, OTHER, OWN)[None].repeat(3, 0))
    assert boxes(got) == [[40, 10, 60, 30]]
    assert got["gt_labels"].tolist() == [2, 0, 0, 0, 0, 0]
    assert got["gt_masks"][0].tolist() == [[255 * (not (2 <= y < 6 and 2 <= x < 6)) for x in range(8)]
                                           for y in range(8)]


def test_what_lies_under_a_pasted_object_loses_pixels_and_its_box_shrinks():
    """The right half of 10..30 is hidden; a box of which only a corner is hidden keeps its sides."""
    own = [instance(rectangle(10, 10, 30, 20)), instance(rectangle(50, 40, 70, 60))]
    got, one = pasted(own, [instance(rectangle(20, 5, 55, 45), label=2)])
    assert boxes(got) == [[10, 10, 20, 20], [50, 40, 70, 60], [20, 5, 55, 45]]
    masks = got["gt_masks"]
    assert (masks[0] == 255).all()
    assert masks[1].tolist() == [[0, 0, *[255] * 6]] * 2 + [[255] * 8] * 6
    assert (masks[2] == 255).all()
    assert not one.dropped.counts


def test_objects_hidden_by_more_than_the_stated_share_are_dropped_and_counted():
    own = [instance(rectangle(10, 10, 20, 20)), instance(rectangle(10, 30, 20, 40))]
    got, one = pasted(own, [instance(rectangle(10, 10, 17, 20) | rectangle(10, 30, 18, 40), label=2)])
    assert boxes(got) == [[17, 10, 20, 20], [10, 10, 18, 40]]  # 70 % hidden stays, 80 % does not
    assert one.dropped.counts == {HIDDEN: 1}


def test_crowds_are_not_pasted_and_stay_under_what_is_pasted():
    crowd, thing = instance(rectangle(0, 0, 90, 60), iscrowd=1), instance(rectangle(5, 5, 85, 58), label=2)
    got, _ = pasted([crowd], [thing, instance(rectangle(0, 0, 30, 30), iscrowd=1)])
    assert boxes(got) == [[0, 0, 90, 60], [5, 5, 85, 58]]
    assert got["gt_ignore"].tolist()[:2] == [True, False]
    assert (got["image"][0, :5] == OWN).all()


def test_objects_without_a_mask_are_not_pasted_but_are_hidden():
    bare = {key: value for key, value in instance(rectangle(10, 10, 30, 20)).items() if key != "segmentation"}
    got, _ = pasted([bare], [instance(rectangle(20, 0, 40, 30)), bare])
    assert boxes(got) == [[10, 10, 20, 20], [20, 0, 40, 30]]
    assert got["gt_has_mask"].tolist()[:2] == [False, True]


def test_no_more_objects_than_slots_are_pasted():
    rows = [instance(rectangle(10 * k, 0, 10 * k + 5, 8)) for k in range(5)]
    others = [instance(rectangle(10 * k, 30, 10 * k + 5, 38), label=2) for k in range(9)]
    counts = set()
    for seed in range(60):
        got, one = pasted(rows, others, seed)
        assert got["gt_valid"].all()
        assert got["gt_labels"].tolist() == [1, 1, 1, 1, 1, 2]
        assert (got["image"][0] == OTHER).sum() == 40  # one object; what has no slot has no pixels
        counts.add(one.dropped.counts[NOT_PASTED])
    assert counts == set(range(9))


def test_nothing_to_paste():
    got, one = pasted([instance(rectangle(10, 10, 30, 20))], [])
    assert boxes(got) == [[10, 10, 30, 20]]
    assert (got["image"] == OWN).all()
    assert not one.dropped.counts


@pytest.mark.parametrize("seed", range(6))
def test_the_visible_masks_equal_those_of_a_whole_canvas(seed):
    """Scaled, turned and mirrored: each pixel belongs to what was put there last."""
    rng = np.random.default_rng(seed)

    def some(label: int) -> list[dict]:
        corners = rng.integers(0, (60, 30), (4, 2))
        return [instance(rectangle(x, y, x + w, y + h), label=label)
                for (x, y), w, h in zip(corners, rng.integers(8, 35, 4), rng.integers(8, 33, 4))]

    own, other = some(1)[:1], some(2)
    got, _ = pasted(own, other, seed, scale_limits=(0.6, 1.6), rotate_ratio=0.5, flip_ratio=0.5)
    top, labels = got["image"][0] == OTHER, got["gt_labels"][got["gt_valid"]]
    for label, box, crop in zip(labels, boxes(got), got["gt_masks"]):
        x1, y1, x2, y2 = (round(v) for v in box)
        inside = top[y1:y2, x1:x2]
        share = inside.mean() if label == 2 else 1 - inside.mean()
        assert crop.mean() / 255 == pytest.approx(share, abs=0.1) or (label == 2 and share >= crop.mean() / 255 - 0.1)


# --- in the pipeline --------------------------------------------------------------------------------------------------

def test_a_partner_is_another_sample_and_a_function_of_seed_epoch_and_sample():
    options = {"seed": 1, "ratio": 0.5}
    found = {(e, i): order.partner(7, epoch=e, sample_id=i, **options) for e in range(200) for i in range(7)}
    assert found == {(e, i): order.partner(7, epoch=e, sample_id=i, **options) for e in range(200) for i in range(7)}
    given = [(i, other) for (_, i), other in found.items() if other is not None]
    assert 600 < len(given) < 800
    assert all(i != other for i, other in given)
    assert {other for i, other in given if i == 3} == {0, 1, 2, 4, 5, 6}
    assert order.partner(1, seed=1, epoch=0, sample_id=0, ratio=1.0) is None
    assert all(order.partner(7, seed=1, epoch=e, sample_id=7 + 3, ratio=1.0) != 3 for e in range(50))  # a copy of 3


MIXED = augmentation(4, copy_paste_ratio=0.6, flip_ratio=0.5, scale_limits=(0.5, 2.0))


@pytest.fixture
def dataset(tmp_path) -> CocoDataset:
    return CocoDataset(write_coco(tmp_path, content(7)), tmp_path / "val")


def batches(dataset, **options) -> list[tuple[np.ndarray, ...]]:
    options = {"seed": 4, "epochs": 2, "batch_size": 2, "augmentation": MIXED, "columns": COLUMNS} | options
    return list(training_batches(dataset, **options).create_tuple_iterator(num_epochs=1, output_numpy=True))


def same(ours, theirs) -> bool:
    assert len(ours) == len(theirs) > 0
    return all(np.array_equal(a, b) for mine, other in zip(ours, theirs) for a, b in zip(mine, other, strict=True))


def test_pasting_depends_on_the_sample_alone(dataset, tmp_path):
    """Not on threads, on where a run was resumed, or on the number of ranks; a replay makes the same batch."""
    whole = batches(dataset, workers=1)
    assert same(batches(dataset, workers=4), whole)
    assert same(batches(dataset, start_step=2), whole[2:])
    build(dataset, tmp_path / "r")
    assert same(batches(RecordDataset(tmp_path / "r")), whole)
    ranks = [batches(dataset, batch_size=1, world_size=2, rank=rank) for rank in (0, 1)]
    assert same([tuple(map(np.concatenate, zip(a, b))) for a, b in zip(*ranks)], whole)
    ids, epochs = whole[4][-2:]
    assert same([augmented_batch(dataset, ids.tolist(), int(epochs[0]), augmentation=MIXED, seed=4)], [whole[4]])


def test_objects_come_from_the_partner(dataset):
    """The pipeline's batch is what the augmentation makes of the sample and the partner that `order` names."""
    one = augmentation(4, copy_paste_ratio=1.0)
    batch = augmented_batch(dataset, [2], 5, augmentation=one, seed=3)
    other = order.partner(7, seed=3, epoch=5, sample_id=2, ratio=1.0)
    record, partner = dataset.rows([2, other])
    expected = one(record.image, record.target, order.sample_rng(3, 5, 2), (partner.image, partner.target))
    assert all(np.array_equal(a[0], b) for a, b in zip(batch, expected))
    alone = one(record.image, record.target, order.sample_rng(3, 5, 2))
    assert not np.array_equal(alone[0], batch[0][0])


def test_masks_are_run_lengths_of_coco():
    """The literal masks of these tests are what COCO's own tools decode."""
    mask = rectangle(3, 4, 9, 7)
    assert (coco_mask.decode(instance(mask)["segmentation"]) == mask).all()
