import logging
import resource

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest

from src.contract import InputError
from src.engine import checkpoint
from src.engine.checkpoint import CheckpointFolder
from src.weights.formats import read_tensors


def cell(size: int = 2, value: float = 1.0) -> nn.Dense:
    dense = nn.Dense(size, 2, bias_init="zeros")
    dense.weight.set_data(ms.Tensor(np.full((2, size), value, np.float32)))
    return dense


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path, "net_s8", 3)


def names(path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_a_checkpoint_comes_back_with_its_metadata(tmp_path):
    dense, path = cell(value=2.5), tmp_path / "a.ckpt"
    dense.insert_param_to_cell("learning_rate", ms.Parameter(ms.Tensor([0.1]), name="learning_rate"))
    checkpoint.save(path, dense, {"step": 7, "class_names": ["Straße", "tree"], "nested": {"a": [1.5]}})
    values, metadata = checkpoint.load(path)
    assert metadata == {"step": 7, "class_names": ["Straße", "tree"], "nested": {"a": [1.5]}}
    assert sorted(values) == ["bias", "weight"]  # the schedule is a function of the configuration
    other = cell(value=0.0)
    checkpoint.restore(other, values, path)
    assert other.weight.asnumpy().tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert names(tmp_path) == ["a.ckpt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_restoring_into_another_network_names_what_differs_and_changes_nothing(tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, cell(), {})
    values, _ = checkpoint.load(path)
    wider, other = cell(size=3, value=7.0), nn.Conv2d(1, 1, 1, has_bias=False)
    with pytest.raises(InputError, match="cannot be resumed with these settings: 1 parameters differ, first weight"):
        checkpoint.restore(wider, values, path)
    assert wider.weight.asnumpy().tolist() == [[7.0] * 3] * 2
    with pytest.raises(InputError, match="2 parameters differ, first bias, weight.*config.yaml"):
        checkpoint.restore(other, values, path)


@pytest.mark.parametrize(("content", "reason"), [(b"", "not a complete checkpoint"), (b"no weights", "not a complete"),
                                             (None, "no such checkpoint")])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content, reason):
    path = tmp_path / "a.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path}: {reason}"):
        checkpoint.load(path)


def test_checkpoints_are_ordered_by_number_and_the_newest_stay(folder):
    (folder.folder / "net_s16-1_1.ckpt").write_bytes(b"another model's")
    for epoch, step in [(1, 9), (1, 10), (2, 2), (10, 1), (9, 3)]:
        folder.save(cell(), {}, epoch, step)
    assert [p.name for p in folder.existing()] == ["net_s8-2_2.ckpt", "net_s8-9_3.ckpt", "net_s8-10_1.ckpt"]
    assert "net_s16-1_1.ckpt" in names(folder.folder)


def test_the_best_copy_does_not_count_among_the_newest(folder):
    for step in range(1, 6):
        path = folder.save(cell(value=step), {}, 1, step)
        if step == 2:
            checkpoint.copy(path, folder.best)
    assert checkpoint.load(folder.best)[0]["weight"].asnumpy()[0, 0] == 2
    assert len(folder.existing()) == 3
    assert folder.best not in folder.existing()


def test_a_broken_newest_file_is_named_and_the_one_before_it_used(folder, caplog):
    folder.save(cell(value=3.0), {"step": 3}, 1, 3)
    broken = folder.save(cell(value=4.0), {"step": 4}, 1, 4)
    broken.write_bytes(broken.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        path, values, metadata = folder.newest()
    assert (path.name, metadata["step"], values["weight"].asnumpy()[0, 0]) == ("net_s8-1_3.ckpt", 3, 3.0)
    assert "net_s8-1_4.ckpt: not a complete checkpoint" in caplog.text
    assert "going on from an older one" in caplog.text


def test_no_checkpoint_is_a_beginning_and_broken_ones_alone_are_an_error(folder):
    assert folder.newest() is None
    folder.path(1, 3).write_bytes(b"")
    with pytest.raises(InputError, match="none of its 1 checkpoints is complete"):
        folder.newest()
    assert folder.path(1, 3).exists()


def test_a_full_disk_leaves_the_earlier_files_and_no_half_ones(folder):
    big = cell(size=200_000)
    folder.save(cell(value=3.0), {"step": 3}, 1, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match="net_s8-1_4.ckpt: the checkpoint could not be written.*is the disk full?"):
            folder.save(big, {}, 1, 4)
        with pytest.raises(InputError, match="could not be written"):  # over a file of the same name
            folder.save(big, {}, 1, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(folder.folder) == ["net_s8-1_3.ckpt"]
    assert folder.newest()[2] == {"step": 3}


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(folder):
    for name in (".unfinished-123-net_s8-1_3.ckpt", ".unfinished-5-net_s8-1_4.tmp", "net_s8-1_2.ckpt", "mine.ckpt",
                 ".unfinished-notes.txt"):
        (folder.folder / name).write_bytes(b"x")
    folder.clear_unfinished()
    assert names(folder.folder) == [".unfinished-notes.txt", "mine.ckpt", "net_s8-1_2.ckpt"]


def test_one_changed_bit_of_a_checkpoint_is_noticed(folder):
    path = folder.path(1, 2)
    folder.save(cell(64), {}, 1, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a complete checkpoint, or damaged since it was written"):
        checkpoint.load(path)
    with pytest.raises(InputError, match="its check sum is wrong"):
        read_tensors(path)
