"""The keys of the augmentation that are off by default: refusals, and the training columns that they make."""
import re

import numpy as np
import pytest

from src import tasks
from src.contract import InputError
from src.data.pipeline import augmented_batch, training_batches
from tests.deeplabv3.conftest import tiny_task
from tests.tiny_seg import write_data


@pytest.mark.parametrize(("flags", "message"), [
    ("--colour_jitter=0.3", "colour_jitter=0.3: expected four numbers, for brightness, contrast, saturation (0 to 1)"),
    ("--colour_jitter=0.3,0.3,0.3,0.6", "colour_jitter=0.3,0.3,0.3,0.6: expected four numbers"),
    ("--colour_jitter=0.3,0.3,1.3,0", "--colour_jitter=1.3: input should be less than or equal to 1"),
    ("--rotation=-3", "--rotation=-3: input should be greater than or equal to 0"),
    ("--blur=100", "--blur=100: input should be less than or equal to 20"),
    ("--rare_class_crops=2", "--rare_class_crops=2: input should be less than or equal to 1")])
def test_refusals_name_value_and_way_out(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        tasks.parse_settings(flags.split(), program="train.py", groups=("train",))


def test_batches_are_the_same_by_any_number_of_workers_and_after_a_resume(tmp_path):
    lst = write_data(tmp_path, 6, height=40, width=50)
    task = tiny_task(data_root=str(tmp_path), data_lst=str(lst), rotation=15.0, blur=1.0, rare_class_crops=0.7,
                     colour_jitter=(0.4, 0.4, 0.4, 0.1))
    dataset, augmentation = task.dataset("train"), task.train_augmentation()
    plan = {"augmentation": augmentation, "columns": task.columns, "batch_size": 2, "seed": 3, "epochs": 2}

    def batches(**values) -> list[tuple]:
        data = training_batches(dataset, **plan, **values)
        return list(data.create_tuple_iterator(num_epochs=1, output_numpy=True))

    one, two, resumed = batches(workers=1), batches(workers=2), batches(workers=2, start_step=4)
    assert (len(one), len(resumed)) == (6, 2)
    for ours, theirs in [*zip(one, two), *zip(one[4:], resumed)]:
        for a, b in zip(ours, theirs):
            np.testing.assert_array_equal(a, b)
    ids, epoch = one[5][2].tolist(), int(one[5][3][0])
    for a, b in zip(augmented_batch(dataset, ids, epoch, augmentation=augmentation, seed=3), one[5]):
        np.testing.assert_array_equal(a, b)


def test_labels_are_counted_only_for_crops_that_ask_for_it(tmp_path):
    assert tiny_task().train_augmentation().rare_class_crops == 0  # there is no data
    lst = write_data(tmp_path, 3)
    task = tiny_task(data_root=str(tmp_path), data_lst=str(lst), rare_class_crops=0.5)
    weights = task.train_augmentation().rarity
    assert weights[255] == 0
    assert 0 < weights[0] < weights[3] == 1.0  # no pixel of class 3
    with pytest.raises(InputError, match="train data.* is missing"):
        tiny_task(rare_class_crops=0.5).train_augmentation()
