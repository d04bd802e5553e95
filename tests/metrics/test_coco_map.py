"""COCO AP: literal cases, against pycocotools on real annotations, parts of a split, images that are missing."""
import contextlib
import io
import json

import numpy as np
import pytest

from src.contract import InputError, Instances
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_layout import coco_layout
from src.data.instance.target import Category, decode_target, encode_categories, encode_instances, encode_target, to_rle
from src.metrics.coco_map import CocoMAP, summary

CATEGORIES = encode_categories((Category(1, 18, "dog"), Category(2, 3, "cat")))
SIZE = (100, 100)


def instance(number: int, box: list[float], label: int = 1, **changes) -> dict:
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {"id": number, "label": label, "category_id": {1: 18, 2: 3}[label], "bbox": box, "area": w * h, "iscrowd": 0,
            "segmentation": [polygon]} | changes


def target(image_id: int, *instances: dict) -> bytes:
    return encode_target(image_id, SIZE, CATEGORIES, encode_instances(instances))


def prediction(image_id: int, *detections: tuple[list[float], int, float], masks: bool = True) -> Instances:
    boxes = np.array([d[0] for d in detections], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    rles = [to_rle(instance(1, d[0])["segmentation"], SIZE) for d in detections] if masks else []
    return Instances(image_id, boxes, np.array([d[1] for d in detections], np.int32),
                     np.array([d[2] for d in detections], np.float32), rles)


MASK = to_rle([[0, 0, 5, 0, 5, 5]], SIZE)
BOX, OTHER, FAR = [10, 10, 40, 40], [60, 60, 30, 30], [0, 90, 5, 5]


def evaluated(*pairs) -> dict:
    evaluator = CocoMAP()
    for predicted, truth in pairs:
        evaluator.update(predicted, truth)
    return evaluator.compute()


def test_a_perfect_detection():
    numbers = evaluated((prediction(1, (BOX, 1, 0.9)), target(1, instance(1, BOX))))
    for kind in ("bbox", "segm"):
        assert numbers[kind]["AP"] == numbers[kind]["APm"] == numbers[kind]["AR1"] == 1
        assert numbers[kind]["APs"] is None
        assert numbers[kind]["ARl"] is None
    assert numbers["classes"] == {"dog": {"bbox": 1.0, "segm": 1.0, "instances": 1},
                                  "cat": {"bbox": None, "segm": None, "instances": 0}}
    assert numbers["ap"] == 1
    assert (numbers["images"], numbers["instances"], numbers["detections"]) == (1, 1, 1)


def test_ap_literal():
    """One of two objects found, a better scored false alarm: precision 1/2 up to recall 1/2, 51 of 101 points."""
    numbers = evaluated((prediction(1, (FAR, 1, 0.9), (BOX, 1, 0.8)), target(1, instance(1, BOX), instance(2, OTHER))))
    assert numbers["bbox"]["AP"] == pytest.approx(0.5 * 51 / 101, abs=1e-12)
    assert numbers["bbox"]["AR1"] == 0
    assert numbers["bbox"]["AR"] == 0.5


def test_iou_thresholds():
    """IoU 0.68 counts at 0.50, 0.55, 0.60 and 0.65: 4 of 10 thresholds."""
    numbers = evaluated((prediction(1, ([10, 10, 34, 32], 1, 0.9)), target(1, instance(1, BOX))))
    assert numbers["bbox"]["AP"] == pytest.approx(0.4)
    assert numbers["bbox"]["AP75"] == 0


def test_detections_in_a_crowd_do_not_count():
    crowd = instance(2, OTHER, iscrowd=1)
    found = prediction(1, ([61, 61, 10, 10], 1, 0.95), (BOX, 1, 0.9))
    assert evaluated((found, target(1, instance(1, BOX), crowd)))["bbox"]["AP"] == 1
    assert evaluated((found, target(1, instance(1, BOX))))["bbox"]["AP"] == pytest.approx(0.5)


def test_the_wrong_class_is_a_miss_and_a_false_alarm():
    numbers = evaluated((prediction(1, (BOX, 2, 0.9)), target(1, instance(1, BOX), instance(2, OTHER, 2))))
    assert numbers["classes"]["dog"]["bbox"] == numbers["classes"]["cat"]["bbox"] == 0


def test_boxes_alone():
    truth = target(1, *({k: v for k, v in instance(1, BOX).items() if k != "segmentation"},))
    numbers = evaluated((prediction(1, (BOX, 1, 0.9), masks=False), truth))
    assert numbers["segm"] is None
    assert numbers["ap"] == numbers["bbox"]["AP"] == 1
    assert numbers["images_without_masks"] == 1


def test_images_with_boxes_alone_are_left_out_of_the_mask_score():
    bare = {k: v for k, v in instance(1, BOX).items() if k != "segmentation"}
    numbers = evaluated((prediction(1, (BOX, 1, 0.9)), target(1, instance(1, BOX))),
                        (prediction(2, (FAR, 1, 0.95)), target(2, bare)))
    assert numbers["segm"]["AP"] == 1
    assert numbers["bbox"]["AP"] < 1
    assert numbers["images_without_masks"] == 1


def test_masks_are_small_by_their_own_area():
    """A false alarm whose mask is small (800 pixels) in a box that is medium (1600) counts among the small masks."""
    half = [[10, 10, 50, 10, 10, 50]]
    truth = target(1, instance(1, BOX, segmentation=half, area=800))
    wrong = [[60, 60, 100, 60, 60, 100]]
    found = prediction(1, ([60, 60, 40, 40], 1, 0.9), (BOX, 1, 0.8))
    found.rles[:] = [to_rle(wrong, SIZE), to_rle(half, SIZE)]
    assert evaluated((found, truth))["segm"]["APs"] == pytest.approx(0.5)


def test_no_detections_and_no_objects():
    numbers = evaluated((prediction(1), target(1, instance(1, BOX))))
    assert numbers["bbox"]["AP"] == numbers["segm"]["AP"] == numbers["ap"] == 0
    empty = evaluated((prediction(1, (BOX, 1, 0.9)), target(1)))
    assert empty["bbox"]["AP"] is None
    assert empty["segm"] is None
    assert empty["ap"] == 0
    assert CocoMAP().compute()["ap"] == 0


def test_images_are_matched_by_id_and_the_rest_is_named():
    evaluator = CocoMAP()
    evaluator.update_all([prediction(9, (BOX, 1, 0.5)), prediction(2, (OTHER, 1, 0.9)), prediction(1, (BOX, 1, 0.9))],
                         [target(1, instance(1, BOX)), target(2, instance(1, OTHER)), target(3, instance(1, BOX))])
    numbers = evaluator.compute()
    assert numbers["images_without_prediction"] == [3]
    assert numbers["predictions_without_truth"] == [9]
    assert numbers["images"] == 3
    assert numbers["bbox"]["AR"] == pytest.approx(2 / 3)


def test_categories_that_the_data_lacks_do_not_count_where_class_indices_are_category_ids():
    ids = encode_categories((Category(3, 3, "cat"), Category(18, 18, "dog")))
    truth = encode_target(1, SIZE, ids, encode_instances([instance(1, BOX) | {"label": 18, "category_id": 18}]))
    evaluator = CocoMAP()
    evaluator.update(prediction(1, (BOX, 12, 0.9), (BOX, 18, 0.8)), truth)
    numbers = evaluator.compute()
    assert numbers["detections_of_other_classes"] == 1
    assert numbers["bbox"]["AP"] == pytest.approx(1)
    assert [r["category_id"] for r in evaluator.results("segm")] == [18]


@pytest.mark.parametrize(("case", "words"), [
    (lambda e: e.update(prediction(1), target(2)), "image 1 compared with the target of 2"),
    (lambda e: [e.update(prediction(1), target(1)), e.update(prediction(1), target(1))], "image 1 was evaluated twice"),
    (lambda e: e.update(prediction(1, (BOX, 3, 0.5)), target(1)), "class index 3 was predicted"),
    (lambda e: e.update_all([prediction(1), prediction(1)], []), "image 1 is predicted twice"),
    (lambda e: [e.update_missing(target(1)), e.update_missing(encode_target(2, SIZE, '[[1,1,"x"]]', "[]"))],
     "other classes"),
    (lambda e: e.update(Instances(1, np.zeros((2, 4)), [1, 1], [1, 1], [MASK]), target(1)), "2 boxes and 1 masks"),
    (lambda e: e.update(Instances(1, np.zeros((1, 4)), [1], [1], [MASK | {"size": [50, 200]}]), target(1)),
     r"image 1: a predicted mask's size is \[50, 200\], the annotations say \[100, 100\]"),
    (lambda e: e.update(Instances(1, np.zeros((1, 4)), [1], [np.nan], []), target(1)), "image 1: .* is NaN or infin"),
    (lambda e: e.update(Instances(1, np.full((1, 4), np.inf), [1], [1], []), target(1)), "image 1: .* is NaN or infin"),
    (lambda e: CocoMAP(0), "max_detections=0: at least 1")])
def test_mistakes_are_named(case, words):
    with pytest.raises(InputError, match=words):
        case(CocoMAP())


GRID = [[12 * k, 5, 10, 10] for k in range(8)]


@pytest.mark.parametrize(("count", "ap", "recalls"), [
    (1, 13 / 101, [1 / 8] * 3), (5, 63 / 101, [1 / 8, 5 / 8, 5 / 8]), (8, 1, [1 / 8, 1, 1]), (10, 1, [1 / 8, 1, 1]),
    (100, 1, [1 / 8, 1, 1])])
def test_max_detections_below_ten(count, ap, recalls):
    """Eight objects, all found: of the 101 recall thresholds those up to count / 8 are reached."""
    truth = target(1, *(instance(k, box) for k, box in enumerate(GRID)))
    evaluator = CocoMAP(count)
    evaluator.update(prediction(1, *((box, 1, 0.9 - 0.1 * k) for k, box in enumerate(GRID))), truth)
    numbers = evaluator.compute()
    for kind in ("bbox", "segm"):
        assert numbers[kind]["AP"] == numbers["classes"]["dog"][kind] == pytest.approx(ap, abs=1e-12)
        assert [numbers[kind][key] for key in ("AR1", "AR10", "AR")] == pytest.approx(recalls)
    theirs = pycocotools_numbers([truth], evaluator.results("bbox"), "bbox", count)
    assert theirs.eval["precision"][:, :, 1, 0, -1].mean() == pytest.approx(ap, abs=1e-12)  # of ids 3, 18 the second
    assert [theirs.eval["recall"][:, 1, 0, k].mean() for k in range(3)] == pytest.approx(recalls)
    lines = summary(numbers["bbox"], count).splitlines()
    assert [line.split("maxDets=")[1][:3].strip() for line in lines[:1] + lines[6:9]] == [
        str(n) for n in (count, 1, min(10, count), count)]


def pycocotools_numbers(targets: list[bytes], results: list[dict], kind: str, count: int = 100):
    """pycocotools' own evaluation of a results list."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = [decode_target(data) for data in targets]
    gt = COCO()
    gt.dataset = {"images": [{"id": t.image_id, "height": t.size[0], "width": t.size[1]} for t in truths],
                  "annotations": [{**i, "image_id": t.image_id, "id": 1000 * n + k} for n, t in enumerate(truths, 1)
                                  for k, i in enumerate(t.instances)],
                  "categories": [{"id": c.category_id, "name": c.name} for c in truths[0].categories]}
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        theirs = COCOeval(gt, gt.loadRes(json.loads(json.dumps(results))), kind)
        theirs.params.maxDets = [1, min(10, count), count]
        theirs.evaluate()
        theirs.accumulate()
        if count == 100:  # summarize asks for AP at 100 whatever maxDets says
            theirs.summarize()
    return theirs


@pytest.mark.parametrize("first", [2 ** 53, -2 ** 53 - 1, 2 ** 62, 0])
def test_image_ids_that_are_one_as_floats_stay_apart(first):
    """The detections of two images, exchanged: nothing is right."""
    truths = target(first, instance(1, BOX)), target(first + 1, instance(1, OTHER), instance(2, FAR))
    right, exchanged = CocoMAP(), CocoMAP()
    for evaluator, boxes in ((right, ([BOX], [OTHER, FAR])), (exchanged, ([OTHER, FAR], [BOX]))):
        evaluator.update_all([prediction(first + k, *((box, 1, 0.9) for box in found))
                              for k, found in enumerate(boxes)], truths)
    assert right.compute()["bbox"]["AP"] == right.compute()["segm"]["AP"] == 1
    assert exchanged.compute()["bbox"]["AP"] == exchanged.compute()["segm"]["AP"] == 0


def test_category_ids_that_are_one_as_floats_stay_apart():
    ids = encode_categories((Category(1, 2 ** 53 + 1, "dog"), Category(2, 2 ** 53, "cat")))
    truth = encode_target(1, SIZE, ids, encode_instances(
        [instance(1, BOX) | {"category_id": 2 ** 53 + 1}, instance(2, OTHER) | {"label": 2, "category_id": 2 ** 53}]))
    evaluator = CocoMAP()
    evaluator.update(prediction(1, (BOX, 1, 0.9), (FAR, 2, 0.9)), truth)
    numbers = evaluator.compute()
    assert (numbers["classes"]["dog"]["bbox"], numbers["classes"]["cat"]["bbox"]) == (1, 0)
    assert numbers["bbox"]["AP"] == 0.5


def test_areas_of_boxes_are_pycocotools_rule_for_entries_with_both():
    """A false alarm whose mask is small (800 pixels) and whose box is medium (1600), beside a small object found."""
    half, small = [[10, 10, 50, 10, 10, 50]], [[60, 5, 80, 5, 80, 25, 60, 25]]
    truth = target(1, instance(1, [60, 5, 20, 20], segmentation=small, area=400))
    found = prediction(1, (BOX, 1, 0.9), ([60, 5, 20, 20], 1, 0.8))
    found.rles[:] = [to_rle(half, SIZE), to_rle(small, SIZE)]
    for areas, expected in (("own", 0.5), ("bbox", 1)):
        evaluator = CocoMAP(areas=areas)
        evaluator.update(found, truth)
        numbers = evaluator.compute()
        assert numbers["segm"]["APs"] == pytest.approx(expected)
        results = evaluator.all_results() if areas == "bbox" else evaluator.results("segm")
        theirs = pycocotools_numbers([truth], results, "segm").stats
        ours = [-1.0 if value is None else value for value in numbers["segm"].values()]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def noisy(truth: bytes, rng: np.random.Generator) -> Instances:
    """Detections that miss some objects, move others, confuse classes and raise false alarms."""
    t = decode_target(truth)
    boxes, labels, scores, rles = [], [], [], []
    for box, one in zip(t.boxes_image, t.instances):
        for _ in range(rng.integers(0, 3)):
            x1, y1, x2, y2 = np.clip(box + rng.normal(0, 0.08, 4) * np.repeat(box[2:] - box[:2], 2)[[0, 2, 1, 3]], 0,
                                     [t.size[1], t.size[0]] * 2).tolist()
            if x2 - x1 < 1 or y2 - y1 < 1:
                continue
            boxes.append([x1, y1, x2, y2])
            labels.append(one["label"] if rng.random() < 0.9 else int(rng.integers(1, len(t.categories) + 1)))
            scores.append(round(float(rng.random()), 1))  # many ties
            rles.append(to_rle([[x1, y1, x2, y1, x2, y2, x1, y2]], t.size))
    return Instances(t.image_id, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int32),
                     np.array(scores, np.float32), rles)


@pytest.fixture(scope="module")
def real(shared):
    dataset = CocoDataset(*coco_layout(shared / "data/coco_open", "val2017", "annotations/instances_{}.json"))
    rng = np.random.default_rng(3)
    targets = [record.target for record in dataset.rows(range(len(dataset)))]
    return dataset.name, targets, [noisy(t, rng) for t in targets]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pycocotools_agrees_to_ten_digits(real, kind):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    name, targets, predictions = real
    evaluator = CocoMAP()
    evaluator.update_all(predictions, targets)
    numbers, printed = evaluator.compute(), io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(name)
        theirs = COCOeval(gt, gt.loadRes(json.loads(json.dumps(evaluator.results(kind)))), kind)
        theirs.evaluate()
        theirs.accumulate()
    with contextlib.redirect_stdout(printed):
        theirs.summarize()
    assert summary(numbers[kind]) == printed.getvalue().rstrip("\n")
    ours = [-1.0 if value is None else value for value in numbers[kind].values()]
    np.testing.assert_allclose(ours, theirs.stats, rtol=0, atol=1e-10)
    assert 0.05 < numbers[kind]["AP"] < 0.95
    precision = theirs.eval["precision"][:, :, :, 0, -1]
    by_name = {c["id"]: c["name"] for c in gt.dataset["categories"]}
    for k, category in enumerate(theirs.params.catIds):
        mine, values = numbers["classes"][by_name[category]][kind], precision[:, :, k]
        assert (mine is None) == (values == -1).all()
        if mine is not None:
            assert mine == pytest.approx(values[values > -1].mean(), abs=1e-10)


def test_parts_of_several_processes_give_the_same_numbers(real):
    _, targets, predictions = real
    whole, parts = CocoMAP(), [CocoMAP() for _ in range(3)]
    for k, (predicted, truth) in enumerate(zip(predictions, targets)):
        whole.update(predicted, truth)
        parts[(7 * k) % 3].update(predicted, truth)
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    assert parts[2].compute() == whole.compute()
    assert [parts[2].results(kind) for kind in ("bbox", "segm")] == [whole.results(kind) for kind in ("bbox", "segm")]
    with pytest.raises(InputError, match="evaluated twice"):
        whole.merge(parts[0])


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_ground_truth_as_detections_is_perfect(shared, split):
    dataset = CocoDataset(*coco_layout(shared / "data/coco_open", split, "annotations/instances_{}.json"))
    evaluator = CocoMAP()
    for record in dataset.rows(range(len(dataset))):
        t = decode_target(record.target)
        own = [i for i in t.instances if not i["iscrowd"]]
        evaluator.update(Instances(record.image_id, t.boxes_image[~t.crowds], t.labels[~t.crowds], np.ones(len(own)),
                                   [to_rle(i["segmentation"], t.size) for i in own]), record.target)
    numbers = evaluator.compute()
    assert numbers["bbox"]["AP"] == numbers["segm"]["AP"] == numbers["bbox"]["AR"] == 1
    assert {v["segm"] for v in numbers["classes"].values()} == {1.0, None}
