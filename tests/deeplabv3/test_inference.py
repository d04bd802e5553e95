"""The predictor around a small network in numpy, against a recomputation without it, image by image."""
import cv2
import numpy as np
import pytest

from src.contract import InputError, Record
from src.deeplabv3.inference import Predictor, scaled_side
from src.deeplabv3.preprocess import Preprocess
from tests.conftest import running_mode
from tests.deeplabv3.conftest import statistics, tiny_task
from tests.tiny_seg import jpeg, label, png

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)
SIZES = [(40, 30), (30, 40), (33, 33), (5, 3), (1, 20), (90, 21), (64, 64)]
RNG = np.random.default_rng(0)
WEIGHT, SHIFTED = RNG.normal(size=(2, 4, 3)).astype(np.float32)


def network(batch: np.ndarray) -> np.ndarray:
    """(B, 3, S, S) -> softmax over four classes of each pixel and its left neighbour: its mirror image is another."""
    logits = np.einsum("kc,bchw->bkhw", WEIGHT, batch)
    logits += np.einsum("kc,bchw->bkhw", SHIFTED, np.roll(batch, 1, -1))
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


RECORDS = [Record(100 + i, f"{i}.png", png(smooth(i, *size)), b"", f"list:{i}") for i, size in enumerate(SIZES)]


def predictor(scales=(1.0,), flip=False, batch_size=2, probabilities=network, **more) -> Predictor:
    return Predictor(probabilities, preprocess=Preprocess("BGR", MEAN, STD), crop_size=49, scales=scales, flip=flip,
                     batch_size=batch_size, **more)


def recomputed(record: Record, scales, flip) -> np.ndarray:
    return recomputed_scores(record, scales, flip).argmax(0)


def recomputed_scores(record: Record, scales, flip) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)  # BGR
    height, width = image.shape[:2]
    total = 0
    for scale in scales:
        side = int(48 * scale) + 1
        if height >= width:
            size = side, max(int(side * width / height), 1)
        else:
            size = max(int(side * height / width), 1), side
        canvas = np.zeros((side, side, 3))
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        canvas[: size[0], : size[1]] = (resized - np.array(MEAN)) / STD
        batch = canvas.transpose(2, 0, 1)[None].astype(np.float32)
        scores = network(batch)[0]
        if flip:
            scores = scores + network(batch[..., ::-1])[0][..., ::-1]
        scores = scores[:, : size[0], : size[1]]
        total = total + np.stack([cv2.resize(plane, (width, height)) for plane in np.ascontiguousarray(scores)])
    return total


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 1.0, 1.75), False), ((0.5, 1.0, 1.75), True)])
def test_it_equals_a_recomputation_for_any_batch_size(batch_size, scales, flip):
    predictions = list(predictor(scales, flip, batch_size)(RECORDS))
    assert [p.image_id for p in predictions] == [r.image_id for r in RECORDS]
    assert [p.labels.shape for p in predictions] == SIZES
    assert all(p.labels.dtype == np.uint8 for p in predictions)
    expected = [recomputed(record, scales, flip) for record in RECORDS]
    equal = np.concatenate([(p.labels == e).ravel() for p, e in zip(predictions, expected)])
    assert equal.mean() >= 0.9999
    assert len(np.unique(np.concatenate([e.ravel() for e in expected]))) == 4


def assert_mean_probabilities(predictions, sums, views: int) -> None:
    """Confidences are the mean over the views of the largest of `sums`, (K, H, W) for each record."""
    for found, total in zip(predictions, sums, strict=True):
        assert found.confidence.dtype == np.float32
        np.testing.assert_allclose(found.confidence, total.max(0) / views, atol=1e-4)


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 1.0), True)])
def test_confidence_is_the_mean_probability_of_the_class(scales, flip):
    assert_mean_probabilities(predictor(scales, flip, confidence=True)(RECORDS),
                              [recomputed_scores(record, scales, flip) for record in RECORDS], len(scales) * (1 + flip))
    assert next(predictor()(RECORDS)).confidence is None


def test_flip_and_scales_change_the_result():
    results = [np.concatenate([p.labels.ravel() for p in predictor(scales, flip)(RECORDS)])
               for scales, flip in [((1.0,), False), ((1.0,), True), ((0.5,), False)]]
    assert all((results[0] != other).mean() > 0.01 for other in results[1:])


def test_sides_of_the_published_scales():
    assert [scaled_side(513, s) for s in (0.5, 0.75, 1.0, 1.25, 1.75)] == [257, 385, 513, 641, 897]


def test_every_call_has_the_full_batch_so_that_each_scale_is_compiled_once():
    shapes = []

    def probabilities(batch):
        shapes.append(batch.shape)
        return network(batch)

    list(predictor((0.5, 1.0), True, 3, probabilities)(RECORDS))
    assert set(shapes) == {(3, 3, 25, 25), (3, 3, 49, 49)}
    assert len(shapes) == 3 * 2 * 2  # batches, scales, mirror images


def test_no_more_than_two_batches_are_held():
    taken = []

    def records():
        for i in range(40):
            taken.append(i)
            yield RECORDS[i % len(RECORDS)]

    ahead = [len(taken) - done for done, _ in enumerate(predictor(batch_size=2)(records()))]
    assert max(ahead) <= 4
    assert len(taken) == 40


def test_nothing_in_nothing_out():
    assert list(predictor()([])) == []


def test_a_damaged_image_is_named():
    bad = Record(7, "7.jpg", jpeg(smooth(1, 40, 40))[:300], b"", "list.txt:8")
    with pytest.raises(InputError, match="list.txt:8: 7.jpg is a damaged or truncated JPEG"):
        list(predictor()([RECORDS[0], bad]))


# --- with the real network --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def real(tiny):
    """Label maps of five images by batches of two, twice, through one task; and the running statistics before."""
    task, network = tiny
    network.set_train()
    before = statistics(network)
    with running_mode("GRAPH"):
        maps = [[p.labels for p in task.predictor(network)(RECORDS[:5])] for _ in range(2)]
    return task, network, maps, before


def test_evaluation_leaves_the_running_statistics(real):
    _, network, _, before = real
    after = statistics(network)
    assert before
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_second_evaluation_repeats_the_first(real):
    assert all(np.array_equal(a, b) for a, b in zip(*real[2]))


def test_other_batch_sizes_give_the_same_maps(real):
    _, network, maps, _ = real
    for size in (1, 5):
        other = [p.labels for p in tiny_task(batch_size=size).predictor(network)(RECORDS[:5])]
        equal = np.concatenate([(a == b).ravel() for a, b in zip(maps[0], other)])
        assert equal.mean() >= 0.9999


def test_a_task_compiles_its_network_once(real):
    task, network, *_ = real
    scores = task.scores
    compiled = len(scores.compile_cache)
    network.set_train()  # as a run does between two evaluations
    list(task.predictor(network)(RECORDS[:1]))
    assert task.scores is scores
    assert len(scores.compile_cache) == compiled == 1


def test_the_evaluator_reads_label_files(real):
    task, _, maps, _ = real
    from src.contract import LabelMap
    evaluator = task.evaluator()
    evaluator.update(LabelMap(1, maps[0][0]), png(label(0, *SIZES[0])))
    numbers = evaluator.compute()
    assert numbers["images"] == 1
    assert list(numbers["iou"]) == ["class_0", "class_1", "class_2"]
