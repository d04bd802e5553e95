"""Windows over large images, against a plain loop over whole arrays; and the keys, through every way they take."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from src import tasks
from src.config import build
from src.contract import InputError, Record
from src.data.decode import Decoding
from src.deeplabv3 import slide
from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.preprocess import Preprocess
from src.deeplabv3.slide import SlidePredictor, best_class
from src.deeplabv3.window_sums import WindowSums
from tests.conftest import running_mode, watch_decoding
from tests.deeplabv3.conftest import tiny_task
from tests.deeplabv3.test_inference import MEAN, STD, assert_mean_probabilities, network, smooth
from tests.tiny_seg import png

WINDOW, STRIDE = 24, 16
# Exactly one window, one pixel more, a border that windows reach by themselves, one row, one column, one pixel.
SIZES = [(24, 24), (25, 24), (40, 56), (41, 55), (100, 37), (1, 90), (70, 1), (1, 1), (23, 60), (10, 12)]
RECORDS = [Record(100 + i, f"{i}.png", png(smooth(i, *size)), b"", f"list:{i}") for i, size in enumerate(SIZES)]


def predictor(scales=(1.0,), flip=False, batch_size=3, probabilities=network, stride=STRIDE,
              **more) -> SlidePredictor:
    return SlidePredictor(probabilities, preprocess=Preprocess("BGR", MEAN, STD), window=WINDOW, stride=stride,
                          scales=scales, flip=flip, batch_size=batch_size, **more)


def recomputed(record: Record, scales, flip, stride=STRIDE) -> np.ndarray:
    return recomputed_scores(record, scales, flip, stride).argmax(0)


def recomputed_scores(record: Record, scales, flip, stride=STRIDE) -> np.ndarray:
    """As mmsegmentation's slide_inference: grids, windows moved inwards, sums and counts over the whole image."""
    image = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)  # BGR
    total = 0
    for scale in scales:
        height, width = (max(int(side * scale + 0.5), 1) for side in image.shape[:2])
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        sums, counts = np.zeros((height, width, 4)), np.zeros((height, width, 1))
        for row in range(max(height - WINDOW + stride - 1, 0) // stride + 1):
            for column in range(max(width - WINDOW + stride - 1, 0) // stride + 1):
                bottom, right = min(row * stride + WINDOW, height), min(column * stride + WINDOW, width)
                top, left = max(bottom - WINDOW, 0), max(right - WINDOW, 0)
                canvas = np.zeros((WINDOW, WINDOW, 3), np.float32)
                canvas[:bottom - top, :right - left] = (scaled[top:bottom, left:right] - np.array(MEAN)) / STD
                scores = network(canvas.transpose(2, 0, 1)[None])[0]
                if flip:
                    scores = scores + network(canvas[:, ::-1].transpose(2, 0, 1)[None])[0][..., ::-1]
                sums[top:bottom, left:right] += scores.transpose(1, 2, 0)[:bottom - top, :right - left]
                counts[top:bottom, left:right] += 1
        total = total + np.stack([cv2.resize(plane, image.shape[1::-1]) for plane in
                                  np.ascontiguousarray((sums / counts).transpose(2, 0, 1))])
    return total


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(("scales", "flip", "stride"), [
    ((1.0,), False, 16), ((1.0,), False, 24), ((1.0,), True, 7), ((0.5, 1.0, 1.75), False, 16), ((0.4, 2.3), True, 9)])
def test_it_equals_a_plain_loop_over_windows(batch_size, scales, flip, stride):
    predictions = list(predictor(scales, flip, batch_size, stride=stride)(RECORDS))
    assert [p.image_id for p in predictions] == [r.image_id for r in RECORDS]
    assert [p.labels.shape for p in predictions] == SIZES
    assert all(p.labels.dtype == np.uint8 for p in predictions)
    expected = [recomputed(record, scales, flip, stride) for record in RECORDS]
    equal = np.concatenate([(p.labels == e).ravel() for p, e in zip(predictions, expected)])
    assert equal.mean() >= 0.9999
    assert len(np.unique(np.concatenate([e.ravel() for e in expected]))) == 4


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 1.0), True)])
def test_confidence_is_the_mean_probability_of_the_class(scales, flip):
    assert_mean_probabilities(predictor(scales, flip, confidence=True)(RECORDS),
                              [recomputed_scores(record, scales, flip) for record in RECORDS], len(scales) * (1 + flip))
    assert next(predictor()(RECORDS)).confidence is None


def test_overlap_scales_and_flip_change_the_result():
    results = [np.concatenate([p.labels.ravel() for p in predictor(scales, flip, stride=stride)(RECORDS)])
               for scales, flip, stride in [((1.0,), False, 16), ((1.0,), False, 24), ((1.0,), True, 16),
                                            ((0.5,), False, 16)]]
    assert all((results[0] != other).mean() > 0.001 for other in results[1:])


def test_batches_have_one_shape_and_are_filled_across_images():
    shapes = []

    def probabilities(batch):
        shapes.append(batch.shape)
        return network(batch)

    windows = sum(int(np.prod([-(-max(side - WINDOW, 0) // STRIDE) + 1 for side in size])) for size in SIZES)
    list(predictor(probabilities=probabilities, batch_size=4)(RECORDS))
    assert shapes == [(4, 3, WINDOW, WINDOW)] * -(-windows // 4)


@pytest.mark.parametrize(("batch_size", "fixed", "slots"), [
    (20, False, 6), (20, True, 20), (4, False, 4), (6, False, 6)])
def test_the_only_batch_is_not_filled_up(batch_size, fixed, slots):
    """Six windows, and later more of them: still one graph, of the size that the first call decided."""
    shapes = []
    predict = predictor(probabilities=lambda batch: shapes.append(batch.shape) or network(batch),
                        batch_size=batch_size)
    predict.is_decided = fixed
    for record in (RECORDS[2], RECORDS[2], RECORDS[3]):
        np.testing.assert_array_equal(next(predict([record])).labels, next(predictor()([record])).labels)
    assert set(shapes) == {(slots, 3, WINDOW, WINDOW)}


def test_only_the_open_rows_are_held():
    """Sums of an image that is 40 windows high, with a second scale, stay a little more than a window high."""
    rng, held = np.random.default_rng(0), []
    size, out = (500, 30), (1000, 60)
    sums, whole = WindowSums(size, out, window=WINDOW, stride=STRIDE), np.zeros((2, *size))
    counts, rows = np.zeros(size), []
    for top in sums.tops:
        for left in sums.lefts:
            found = rng.random((2, WINDOW, WINDOW), np.float32)
            sums.add(top, left, found)
            whole[:, top:top + WINDOW, left:left + WINDOW] += found
            counts[top:top + WINDOW, left:left + WINDOW] += 1
        done = sum(part.shape[1] for part in rows)
        if sums.ready() > done:
            rows.append(sums.take(done, sums.ready()))
        held.append(sums._sums.shape[1])
    expected = np.stack([cv2.resize(plane, out[::-1]) for plane in whole / counts])
    np.testing.assert_allclose(np.concatenate(rows, 1), expected, atol=1e-6)
    assert max(held) <= WINDOW + 2


def test_best_class_is_the_first_among_equals():
    scores = np.array([[[1, 2, 3]], [[1, 5, 0]], [[0, 5, 4]]], np.float32)
    assert best_class(scores).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("scales", "batch_size"), [((1.0,), 1), ((1.0, 0.5), 1), ((1.0,), 4)])
def test_one_image_is_in_memory_at_a_time_and_none_while_its_label_map_is_used(scales, batch_size, monkeypatch):
    decoded = watch_decoding(slide, monkeypatch)
    for count, _ in enumerate(predictor(scales, batch_size=batch_size)(RECORDS[2:6]), 1):
        assert decoded[count - 1]() is None
    assert len(decoded) == 4


def test_no_more_than_two_images_are_taken_ahead_and_a_damaged_one_is_named():
    taken = []

    def records():
        for i in range(20):
            taken.append(i)
            yield RECORDS[i % len(RECORDS)]
        yield Record(7, "7.png", RECORDS[0].image[:60], b"", "list.txt:8")

    found = predictor(batch_size=1)(records())
    assert max(len(taken) - done for done, _ in zip(range(20), found)) <= 2
    with pytest.raises(InputError, match=r"list.txt:8: 7.png is a damaged or truncated PNG"):
        next(found)
    assert list(predictor()([])) == []


def test_photos_are_turned_before_they_are_cut():
    tag, stream = Image.Exif(), io.BytesIO()
    tag[0x0112] = 6
    Image.fromarray(smooth(3, 30, 50)).save(stream, "PNG", exif=tag)
    record = Record(1, "a.png", stream.getvalue(), b"")
    maps = []
    for exif in ("turn", "raw"):
        predict = predictor()
        predict.preprocess = Preprocess("BGR", MEAN, STD, Decoding(exif))
        maps += [found.labels for found in predict([record])]
    assert [m.shape for m in maps] == [(50, 30), (30, 50)]
    upright = Record(1, "a.png", png(np.rot90(smooth(3, 30, 50), -1)), b"")
    np.testing.assert_array_equal(maps[0], next(predictor()([upright])).labels)


# --- the keys ---------------------------------------------------------------------------------------------------------

def config(**values) -> DeepLabV3Config:
    return build(DeepLabV3Config, {"crop_size": 129} | values)


def test_a_stride_is_two_thirds_of_a_window_by_default():
    assert config(eval_mode="slide").stride(129) == 86
    assert config(eval_mode="slide", slide_stride=129).stride(129) == 129
    assert config().eval_mode == "whole"


@pytest.mark.parametrize(("values", "message"), [
    ({"eval_mode": "slide", "slide_stride": 0}, "slide_stride=0: input should be greater than or equal to 1"),
    ({"eval_mode": "slide", "slide_stride": -5}, "slide_stride=-5"),
    ({"eval_mode": "slide", "slide_stride": 1.5}, "slide_stride=1.5"),
    ({"eval_mode": "slide", "slide_stride": 130}, "slide_stride=130 is above the side of a window, 129 pixels"),
    ({"eval_mode": "slide", "slide_stride": 100, "eval_crop_size": 65}, "is above the side of a window, 65 pixels"),
    ({"eval_mode": "slide", "slide_stride": 100, "input_size": 65}, "is above the side of a window, 65 pixels"),
    ({"slide_stride": 50}, "slide_stride=50 has no effect without eval_mode=slide"),
    ({"eval_mode": "slide", "output": "labels"}, "give --output=scores"),
    ({"eval_mode": "tiles"}, "eval_mode='tiles': input should be 'whole' or 'slide'")])
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        config(**values)


def test_weights_carry_how_their_training_evaluated_and_flags_overrule_it():
    trained = config(eval_mode="slide", slide_stride=100).conventions()
    keys = DeepLabV3Config.network_keys()

    def adopted(**given) -> tuple:
        found = DeepLabV3Config(**given).adopting(trained, keys).completed()
        return found.eval_mode, found.slide_stride, found.canvas

    assert adopted(checkpoint="a") == ("slide", 100, 129)
    assert adopted(checkpoint="a", eval_mode="slide") == ("slide", 100, 129)
    assert adopted(checkpoint="a", eval_mode="slide", slide_stride=64) == ("slide", 64, 129)
    assert adopted(checkpoint="a", eval_mode="whole") == ("whole", None, 129)
    assert adopted(checkpoint="a", crop_size=65) == ("slide", None, 65)
    assert config().adopting({}, keys).eval_mode == "whole"  # weights without the key


def test_a_stride_that_does_not_fit_the_windows_of_the_weights_is_refused():
    trained, keys = config(crop_size=769).conventions(), DeepLabV3Config.network_keys()
    given = DeepLabV3Config(checkpoint="a", eval_mode="slide", slide_stride=600)  # above the default, not above 769
    assert given.adopting(trained, keys).completed().stride(769) == 600
    with pytest.raises(InputError, match="above the side of a window, 513 pixels"):
        given.completed()  # weights that do not say


# --- with the real network --------------------------------------------------------------------------------------------

def test_evaluation_compiles_one_graph_and_whole_mode_is_as_it_was(tiny):
    _, network_ = tiny
    task = tiny_task(eval_mode="slide", slide_stride=20)
    records = [Record(i, f"{i}.png", png(smooth(i, *size)), b"", "") for i, size in
               enumerate([(33, 33), (60, 70), (20, 90)])]
    with running_mode("GRAPH"):
        maps = [p.labels for p in task.predictor(network_)(records)]
        assert len(task.scores.compile_cache) == 1
        whole = [p.labels for p in tiny_task().predictor(network_)(records)]
    assert [m.shape for m in maps] == [(33, 33), (60, 70), (20, 90)]
    assert (maps[0] == whole[0]).mean() >= 0.999  # one window of the canvas' size: both modes see the same
    assert (maps[1] != whole[1]).any()


def test_the_recipe_of_an_exported_file_carries_it():
    task = tiny_task(eval_mode="slide", slide_stride=20, eval_crop_size=49)
    spec = task.export.preprocess_spec()
    assert spec["resize"] == {"rule": "slide", "size": [49, 49], "slide_stride": 20}
    image = smooth(1, 60, 70)
    inputs, = task.export.inputs(image)
    np.testing.assert_array_equal(inputs, task.preprocess.normalise(image[:49, :49], (49, 49)))
    read = tasks.create(build(DeepLabV3Config, task.config.conventions() | {"input_size": 49}))
    assert read.export.preprocess_spec()["resize"] == spec["resize"]
