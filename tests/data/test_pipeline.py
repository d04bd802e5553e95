"""Batches: who is in them, that augmentation follows the sample, and that bad records are named."""
import re
import subprocess
import sys

import numpy as np
import pytest

from src.contract import InputError
from src.data import order
from src.data.pipeline import augmented_batch, training_batches
from src.data.records.mindrecord import BuildOptions, RecordDataset, build
from src.data.semantic.voc import ListDataset
from src.deeplabv3.augmentation import TrainAugmentation
from src.deeplabv3.preprocess import Preprocess
from tests.tiny_seg import image, label, png, write_data

AUGMENTATION = TrainAugmentation(Preprocess("RGB", (120.0, 115.0, 100.0), (58.0, 57.0, 56.0)), crop_size=20,
                                 min_scale=0.5, max_scale=2.0, num_classes=3,
                                 ignore_label=255)
COLUMNS = ("image", "label", "sample_id", "epoch")


def batches(dataset, **options) -> list[tuple[np.ndarray, ...]]:
    options = {"seed": 1, "epochs": 2, "batch_size": 2, "augmentation": AUGMENTATION, "columns": COLUMNS} | options
    return list(training_batches(dataset, **options).create_tuple_iterator(num_epochs=1, output_numpy=True))


def assert_equal(ours, theirs) -> None:
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def whole(dataset):
    return batches(dataset)


def test_columns_have_the_shapes_of_the_contract(whole):
    assert [(column.shape, column.dtype.name) for column in whole[0]] == [
        ((2, 3, 20, 20), "float32"), ((2, 20, 20), "int32"), ((2,), "int32"), ((2,), "int32")]


def test_samples_come_in_the_planned_order(whole):
    planned = np.concatenate([order.rank_order(9, seed=1, epoch=epoch, batch_size=2) for epoch in (0, 1)]).reshape(-1,
                                                                                                                   2)
    assert [ids.tolist() for *_, ids, _ in whole] == planned.tolist()
    assert [epoch.tolist() for *_, epoch in whole] == [[0, 0]] * 4 + [[1, 1]] * 4


def test_a_sample_is_augmented_otherwise_in_every_epoch_and_with_every_seed(dataset, whole):
    def seen(run):
        return {(int(i), int(e)): x for images, _, ids, epochs in run for x, i, e in zip(images, ids, epochs)}

    first, other = seen(whole), seen(batches(dataset, seed=2))
    both = [i for i in range(9) if (i, 0) in first and (i, 1) in first]
    assert len(both) >= 7
    assert not any(np.array_equal(first[i, 0], first[i, 1]) for i in both)
    assert not any(np.array_equal(first[key], other[key]) for key in first.keys() & other.keys())


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_the_number_of_workers_changes_nothing(dataset, whole, workers):
    assert_equal(batches(dataset, workers=workers), whole)


def test_records_give_the_batches_of_their_list(dataset, whole, tmp_path):
    build(dataset, tmp_path / "records")
    assert_equal(batches(RecordDataset(tmp_path / "records"), workers=2), whole)


def test_two_ranks_see_together_what_one_process_sees(dataset):
    one = batches(dataset, batch_size=4)
    parts = zip(batches(dataset, world_size=2, rank=0), batches(dataset, world_size=2, rank=1))
    assert_equal([tuple(map(np.concatenate, zip(a, b))) for a, b in parts], one)


@pytest.mark.parametrize("start", [1, 4, 7])
def test_batches_go_on_where_a_run_stopped(dataset, whole, start):
    assert_equal(batches(dataset, start_step=start), whole[start:])


def test_a_single_batch_is_recomputed_for_a_replay(dataset, whole):
    ids, epochs = whole[5][-2:]
    again = augmented_batch(dataset, ids.tolist(), int(epochs[0]), augmentation=AUGMENTATION, seed=1)
    assert_equal([again], [whole[5]])


def test_a_shard_of_zeros_is_named_though_the_pipeline_may_lose_the_exception(dataset, tmp_path, caplog):
    """As a file system leaves it after a crash: of the right size, empty."""
    build(dataset, tmp_path / "r", BuildOptions(num_shards=2))
    with (tmp_path / "r1").open("r+b") as shard:
        size = shard.seek(0, 2)
        shard.seek(size // 50)
        shard.write(bytes(size - size // 50))
    with pytest.raises(RuntimeError):
        batches(RecordDataset(tmp_path / "r"))
    assert re.search("r: cannot be read .*one of r0, r1 or their .db files is damaged: remove it and", caplog.text)


def test_fewer_samples_than_a_batch_of_every_rank(dataset):
    with pytest.raises(InputError, match="list.txt has 9 samples, fewer than batch_size=5 x 2 processes; lower"):
        batches(dataset, batch_size=5, world_size=2)


# --- what a wrong record says -----------------------------------------------------------------------------------------

def spoil(root, case: str) -> str:
    """Damage record 3 (line 4); return what the message must say of it."""
    if case == "image":
        (root / "images/3.jpg").write_bytes((root / "images/3.jpg").read_bytes()[:200])
        return "images/3.jpg is a damaged or truncated JPEG"
    if case == "size":
        (root / "labels/3.png").write_bytes(png(label(3, 10, 16)))
        return "image is 12x16 (H x W), its label 10x16"
    if case == "colours":
        (root / "labels/3.png").write_bytes(png(image(3)))
        return "is an RGB PNG"
    (root / "labels/3.png").write_bytes(png(label(3) | 64))
    return "but classes are 0..2 and 255 is ignored"


@pytest.mark.parametrize("case", ["image", "size", "colours", "value"])
def test_a_wrong_record_is_named_with_its_line_and_file(tmp_path, case):
    path = write_data(tmp_path, 6)
    said = spoil(tmp_path, case)
    # all of the image, so that every label value is seen
    wide = TrainAugmentation(**{**vars(AUGMENTATION), "crop_size": 60})
    with pytest.raises(RuntimeError) as error:  # MindSpore wraps what a worker raises; the entry scripts unwrap it
        batches(ListDataset(tmp_path, path), augmentation=wide)
    assert re.search(rf"InputError: {re.escape(str(path))}:4: images/3.jpg", str(error.value))
    assert said.removeprefix("images/3.jpg") in str(error.value)


def test_a_wrong_record_ends_train_py_with_a_message_and_no_traceback(tmp_path):
    path = write_data(tmp_path, 6)
    spoil(tmp_path, "size")
    done = subprocess.run(
        [sys.executable, "train.py", "--device_target=CPU", "--backbone=resnet18", "--crop_size=33", "--batch_size=6",
         "--num_classes=3", f"--data_root={tmp_path}", f"--data_lst={path}", f"--train_dir={tmp_path / 'run'}"],
        capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: {path}:4: images/3.jpg: image is 12x16 (H x W), its label 10x16" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
