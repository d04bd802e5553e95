"""Per-image statistics give COCOeval's and MeanIoU's numbers; whole weights give those of copies of images."""
import contextlib
import io
import pickle

import numpy as np
import pytest

from src.contract import Instances, LabelMap
from src.data.instance.target import Category, decode_target, encode_categories, encode_instances, encode_target, to_rle
from src.metrics.coco_map import CocoMAP
from src.metrics.coco_matches import AREAS, IOUS, match_image, overlaps
from src.metrics.image_statistics import MatchStatistics
from src.metrics.miou import MeanIoU
from tests.generated_detections import evaluated

SIZE = 400, 400
CATEGORIES = [Category(1, 18, "dog"), Category(2, 3, "cat"), Category(3, 7, "hen")]
KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")


def mask(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def scene(rng: np.random.Generator) -> tuple[list[dict], list[tuple[list[float], int, float]]]:
    """Objects of all sizes, crowds among them, and detections with ties in score and IoU and of other classes."""
    objects, found = [], []
    for k in range(rng.integers(0, 9)):
        side = float(rng.choice([16, 32, 60, 96, 150]))
        box = [float(v) for v in (*(rng.integers(0, 10, 2) * 25), side, side)]
        label = int(rng.integers(1, 4))
        objects.append({"id": k + 1, "label": label, "category_id": CATEGORIES[label - 1].category_id, "bbox": box,
                        "area": side * side, "iscrowd": int(rng.random() < 0.2), "segmentation": mask(box)})
        for _ in range(rng.integers(0, 4)):
            moved = [box[0] + float(rng.integers(0, 4)) * side / 16, box[1], side, side]
            found.append((moved, label if rng.random() < 0.8 else 1, round(float(rng.random()), 1)))
    alarms = [([9.0 * k, 380, 12, 12], int(rng.integers(1, 4)), 0.5) for k in range(rng.integers(4))]
    return objects, found + alarms


def pair(image_id: int, objects: list[dict], found: list) -> tuple[Instances, bytes]:
    found = sorted(found, key=lambda one: -one[2])
    boxes = np.array([one[0] for one in found], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    target = encode_target(image_id, SIZE, encode_categories(CATEGORIES), encode_instances(objects))
    return Instances(image_id, boxes, np.array([one[1] for one in found], np.int32),
                     np.array([one[2] for one in found], np.float32), [to_rle(mask(one[0]), SIZE) for one in found]
                     ), target


def pycocotools(scenes: list, kind: str, max_detections: int) -> np.ndarray:
    """COCO's twelve numbers, and AP by class, -1 where undefined, by pycocotools itself."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    evaluator = CocoMAP(max_detections)
    for k, one in enumerate(scenes, 1):
        evaluator.update(*pair(k, *one))
    gt = COCO()
    truths = [decode_target(pair(k, *one)[1]) for k, one in enumerate(scenes, 1)]
    gt.dataset = {"images": [{"id": t.image_id, "height": SIZE[0], "width": SIZE[1]} for t in truths],
                  "annotations": [{**i, "image_id": t.image_id, "id": 1000 * t.image_id + i["id"]} for t in truths
                                  for i in t.instances],
                  "categories": [{"id": c.category_id, "name": c.name} for c in CATEGORIES]}
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        theirs = COCOeval(gt, gt.loadRes(evaluator.results(kind)), kind)
        theirs.params.maxDets = [1, min(10, max_detections), max_detections]
        theirs.evaluate()
        theirs.accumulate()
    precision, recall = theirs.eval["precision"][..., -1], theirs.eval["recall"]
    means = [precision[:, :, :, 0], precision[0, :, :, 0], precision[5, :, :, 0],
             *(precision[:, :, :, a] for a in (1, 2, 3)), *(recall[:, :, 0, m] for m in range(3)),
             *(recall[:, :, a, -1] for a in (1, 2, 3)), *(precision[:, :, k, 0] for k in range(3))]
    return np.array([values[values > -1].mean() if (values > -1).any() else -1 for values in means])


def ours(statistics: MatchStatistics, kind: str, weights: np.ndarray) -> np.ndarray:
    numbers = statistics.numbers(weights.reshape(-1, 1).astype(np.float64))
    names = [*((kind, key) for key in KEYS), *(("classes", name, kind) for name in ("cat", "hen", "dog"))]  # by id
    return np.nan_to_num(np.array([numbers[name][0] for name in names]), nan=-1)


@pytest.mark.parametrize("max_detections", [100, 2])
@pytest.mark.parametrize("seed", range(4))
def test_whole_weights_are_copies_of_images_to_pycocotools(seed, max_detections):
    rng = np.random.default_rng(seed)
    scenes = [scene(rng) for _ in range(14)]
    evaluator = CocoMAP(max_detections)
    for k, one in enumerate(scenes, 1):
        evaluator.update(*pair(k, *one))
    statistics = evaluator.statistics()
    copies = rng.integers(0, 3, len(scenes))
    # Copies of an image stand beside each other, as a stable sort of scores leaves them; ties then fall alike.
    for kind in ("bbox", "segm"):
        whole = pycocotools(scenes, kind, max_detections)
        assert 0.02 < whole[0] < 0.9
        np.testing.assert_allclose(ours(statistics, kind, np.ones(14)), whole, rtol=0, atol=1e-12)
        drawn = pycocotools([one for one, n in zip(scenes, copies) for _ in range(n)], kind, max_detections)
        assert abs(drawn - whole).max() > 0.01
        without_ties = all(len({d[2] for d in found}) == len(found) for _, found in scenes)
        np.testing.assert_allclose(ours(statistics, kind, copies), drawn, rtol=0, atol=1e-12 if without_ties else 0.02)


def test_copies_without_ties_are_exact():
    rng = np.random.default_rng(11)
    scenes = [scene(rng) for _ in range(20)]
    scores = iter(rng.permutation(10_000) / 10_000)
    scenes = [(objects, [(box, label, float(next(scores))) for box, label, _ in found]) for objects, found in scenes]
    evaluator = CocoMAP()
    for k, one in enumerate(scenes, 1):
        evaluator.update(*pair(k, *one))
    for seed in range(3):
        copies = np.random.default_rng(seed).multinomial(20, np.full(20, 1 / 20))
        for kind in ("bbox", "segm"):
            drawn = pycocotools([one for one, n in zip(scenes, copies) for _ in range(n)], kind, 100)
            np.testing.assert_allclose(ours(evaluator.statistics(), kind, copies), drawn, rtol=0, atol=1e-12)


def test_many_weightings_at_once_are_each_their_own():
    rng = np.random.default_rng(5)
    evaluator = CocoMAP()
    for k in range(1, 13):
        evaluator.update(*pair(k, *scene(rng)))
    statistics, weights = evaluator.statistics(), rng.integers(0, 4, (12, 150)).astype(np.float64)
    weights[:, 0] = 0  # no image at all: nothing is defined
    together = statistics.numbers(weights)
    for column in (0, 1, 149):
        single = statistics.numbers(weights[:, [column]])
        assert {name: values[column] for name, values in together.items()} == pytest.approx(
            {name: values[0] for name, values in single.items()}, abs=1e-15, nan_ok=True)
    assert all(np.isnan(values[0]) for values in together.values())


def test_a_detection_of_the_literal_case():
    """One object of 40 x 40, found at IoU 0.68: thresholds 0.50 to 0.65. A small false alarm is ignored for medium."""
    box = [10.0, 10.0, 40.0, 40.0]
    objects = [{"id": 1, "label": 1, "category_id": 18, "bbox": box, "area": 1600.0, "iscrowd": 0,
                "segmentation": mask(box)}]
    evaluator = CocoMAP()
    evaluator.update(*pair(5, objects, [([10, 10, 34, 32], 1, 0.9), ([90, 90, 10, 10], 1, 0.8)]))
    matches = evaluator.statistics().matches["bbox"]
    assert matches.hits.tolist() == [[0b1111, 0, 0b1111, 0], [0] * 4]
    # At 0.70 and above it found nothing, and its own area, 1088, is medium.
    assert matches.ignored.tolist() == [[0, 1023, 0, 1023], [0, 0, 1023, 1023]]
    assert matches.truth.tolist() == [[1, 0, 1, 0]]
    assert matches.score.tolist() == pytest.approx([0.9, 0.8])
    assert evaluator.statistics().image_ids.tolist() == [5]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_matches_are_those_of_single_images(kind):
    """`coco_matches` goes image by image and class by class; its sizes are the same, its detections sorted by score."""
    evaluator = evaluated(3, images=30, scores=9)
    found = evaluator.statistics().matches[kind]
    for a, area in enumerate(AREAS):
        theirs = {}
        for k, one in enumerate(overlaps(evaluator, kind)):
            correct, ignored, _ = match_image(one, IOUS, AREAS[area])
            for label in np.unique(one.labels):
                own = one.labels == label
                theirs[k, label - 1] = one.scores[own], *((bits[:, own].T << np.arange(10)).sum(1)
                                                          for bits in (correct, ignored))
        keys = list(zip(found.image.tolist(), found.category.tolist()))
        assert set(keys) == set(theirs)
        for key, (scores, *bits) in theirs.items():
            own = [k for k, pair in enumerate(keys) if pair == key]
            np.testing.assert_array_equal(found.score[own], scores)
            np.testing.assert_array_equal(found.hits[own, a], bits[0])
            np.testing.assert_array_equal(found.ignored[own, a], bits[1])


def test_parts_of_ranks_and_saved_evaluators_give_the_same_statistics():
    rng = np.random.default_rng(2)
    pairs = [pair(k, *scene(rng)) for k in range(1, 10)]
    whole, parts = CocoMAP(), [CocoMAP(), CocoMAP()]
    for k, one in enumerate(pairs):
        whole.update(*one)
        parts[k % 2].update(*one)
    parts[1].compute()  # what is kept of it must not outlive the merge
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]
    parts[1].compute()
    parts[1].merge(parts[0])
    assert parts[1].compute() == whole.compute()
    expected, found = whole.statistics(), parts[1].statistics()
    assert found.truths.tolist() == expected.truths.tolist()
    assert len(set(expected.truths.tolist())) > 5
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)


def label_maps(count: int, seed: int) -> list[tuple[LabelMap, np.ndarray]]:
    rng = np.random.default_rng(seed)
    truths = [rng.integers(0, 3, (4, 5), np.uint8) for _ in range(count)]
    return [(LabelMap(k, np.where(rng.random((4, 5)) < 0.7, truth, rng.integers(0, 4, (4, 5), np.uint8))), truth)
            for k, truth in enumerate(truths)]


def mean_iou(pairs: list) -> MeanIoU:
    evaluator = MeanIoU(("ground", "cat", "dog", "hen"), lambda target: target)
    for one in pairs:
        evaluator.update(*one)
    return evaluator


def test_confusion_counts_of_images():
    evaluator = mean_iou([(LabelMap(7, np.array([[0, 1], [3, 0]], np.uint8)), np.array([[0, 0], [1, 255]], np.uint8)),
                          (LabelMap(3, np.array([[2]], np.uint8)), np.array([[2]], np.uint8))])
    statistics = evaluator.statistics()
    assert statistics.image_ids.tolist() == [3, 7]
    assert list(zip(statistics.image.tolist(), statistics.cell.tolist(), statistics.count.tolist())) == [
        (0, 10, 1), (1, 0, 1), (1, 1, 1), (1, 7, 1)]


def test_weights_of_label_maps_are_copies_of_images():
    pairs = label_maps(6, 0)
    whole = mean_iou(pairs)
    copies = np.array([2, 0, 1, 3, 0, 1])
    repeated = mean_iou([(LabelMap(10 * k + n, one.labels), truth) for k, (one, truth) in enumerate(pairs)
                         for n in range(copies[k])])
    numbers = whole.statistics().numbers(np.stack([np.ones(6), copies], 1).astype(np.float64))
    for column, evaluator in enumerate((whole, repeated)):
        expected = evaluator.compute()
        for name in ("miou", "mean_accuracy", "pixel_accuracy"):
            assert numbers[name,][column] == pytest.approx(expected[name], abs=1e-14)
        for name, value in expected["iou"].items():
            assert numbers["iou", name][column] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def test_statistics_of_label_maps_of_several_ranks():
    pairs = label_maps(5, 1)
    whole, parts = mean_iou(pairs).statistics(), [mean_iou(pairs[1::2]), mean_iou(pairs[::2])]
    parts[0].merge(parts[1])
    assert parts[0].statistics().truths.tolist() == whole.truths.tolist()
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(parts[0].statistics().arrays()[name], array)


def test_nothing_at_all():
    assert np.isnan(mean_iou([]).statistics().numbers(np.ones((0, 2)))["miou",]).all()
    assert CocoMAP().statistics().numbers(np.ones((0, 2))) == {}
