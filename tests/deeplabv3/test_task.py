import re
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import psutil
import pytest
from mindspore import Tensor

from src import tasks
from src.contract import InputError
from src.data.records.mindrecord import RecordDataset, build
from src.data.semantic.voc import ListDataset
from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.memory import activation_bytes
from src.engine import checkpoint, loop, start
from src.engine.start import _check_settings
from src.weights import load as weights
from tests.deeplabv3.conftest import tiny_task
from tests.tiny_seg import write_data


def load(path, **values):
    """(network that a run with these settings starts from, what it was before, the task)."""
    task = tiny_task(pretrained=str(path), **values)
    network = task.network()
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    loop.load_pretrained(task, task.config, network)
    return {p.name: p.asnumpy() for p in network.get_parameters()}, before


def changed(after, before) -> set[str]:
    return {name for name in after if not np.array_equal(after[name], before[name])}


# --- pretrained weights -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def stage_one(tmp_path_factory):
    """A checkpoint of a DeepLabV3 s16 training: its path and the network's parameters, all unlike fresh ones."""
    ms.set_seed(5)
    task = tiny_task()
    network = task.network()
    for i, p in enumerate(network.get_parameters()):
        p.set_data(p + Tensor(np.full(p.shape, 0.001 * (i + 1), np.float32)))
    step = loop.build_step(task, task.config, loop.runtime.Runtime("CPU"), network, 1)
    path = tmp_path_factory.mktemp("stage") / "deeplab_v3_s16-1_1.ckpt"
    checkpoint.save(path, step, {"step": 1, "config": task.config.model_dump(mode="json"),
                                 **weights.to_metadata("mindseg", task.config.conventions())})
    return path, {p.name: p.asnumpy() for p in network.get_parameters()}


def test_a_checkpoint_of_output_stride_16_starts_a_run_of_8_completely(stage_one):
    path, parameters = stage_one
    after, before = load(path, model="deeplab_v3_s8")
    assert changed(after, before) == set(after) == set(parameters)
    assert all(np.array_equal(after[name], parameters[name]) for name in parameters)


def test_another_number_of_classes_replaces_the_classifier_alone_and_says_so(stage_one, caplog):
    path, _parameters = stage_one
    with caplog.at_level("INFO"):
        after, before = load(path, num_classes=5)
    assert set(after) - changed(after, before) == {"classifier.weight", "classifier.bias"}
    assert "not loaded, as the classifier is replaced: classifier.weight, classifier.bias" in caplog.text


def test_filter_weight_replaces_the_classifier_also_where_it_would_fit(stage_one):
    path, _ = stage_one
    after, before = load(path, filter_weight=True)
    assert set(after) - changed(after, before) == {"classifier.weight", "classifier.bias"}


def test_another_backbone_is_an_error_that_names_parameters(stage_one):
    path, _ = stage_one
    with pytest.raises(InputError, match=r"does not fit: .*\d+: backbone\.layer1\..* missing"):
        load(path, backbone="resnet34")


def test_weights_carry_what_they_were_trained_with(stage_one):
    path, _ = stage_one
    evaluated = tasks.with_conventions(DeepLabV3Config(checkpoint=str(path)))
    assert (evaluated.backbone, evaluated.num_classes, evaluated.crop_size) == ("resnet18", 3, 33)
    started = tasks.with_conventions(DeepLabV3Config(pretrained=str(path), model="deeplab_v3_s8"))
    assert (started.backbone, started.num_classes, started.model) == ("resnet18", 21, "deeplab_v3_s8")


def test_photos_are_turned_where_the_weights_were_trained_so(stage_one, tmp_path):
    path, _ = stage_one
    assert tasks.with_conventions(DeepLabV3Config(checkpoint=str(path))).exif == "turn"
    task = tiny_task()
    old = {key: value for key, value in task.config.conventions().items() if key not in ("exif", "bit_depth")}
    before = {key: value for key, value in task.config.model_dump(mode="json").items() if key in old}
    step = loop.build_step(task, task.config, loop.runtime.Runtime("CPU"), task.network(), 1)
    checkpoint.save(tmp_path / "old.ckpt", step, {"step": 1, "config": before, **weights.to_metadata("mindseg", old)})
    evaluated = tasks.with_conventions(DeepLabV3Config(checkpoint=str(tmp_path / "old.ckpt")))
    assert evaluated.exif == "raw"
    recipe = tasks.create(evaluated)
    assert recipe.preprocess.decoding.exif == "raw"
    assert recipe.export.preprocess_spec()["decode"]["exif_orientation"] == "ignored"
    assert tasks.with_conventions(DeepLabV3Config(checkpoint=str(tmp_path / "old.ckpt"), exif="turn")).exif == "turn"
    assert tasks.with_conventions(DeepLabV3Config(pretrained=str(tmp_path / "old.ckpt"))).exif == "turn"
    assert tasks.settings_of(str(tmp_path / "old.ckpt")).exif == "raw"
    with pytest.raises(InputError, match=r"exif=turn \(was raw\). Resume with --exif=raw"):
        start._check_settings(DeepLabV3Config(), DeepLabV3Config().model_dump(mode="json", exclude={"exif"}), path)


def zoo_backbone(stage_one) -> dict[str, np.ndarray]:
    """The backbone under the names of the model zoo's ImageNet ResNet, with its own classifier."""
    tensors = {name.removeprefix("backbone.").replace("downsample", "down_sample_layer"): array
               for name, array in stage_one[1].items() if name.startswith("backbone.")}
    return tensors | {"end_point.weight": np.ones((1001, 512), np.float32), "end_point.bias": np.ones(1001, np.float32)}


def save(path, tensors) -> str:
    ms.save_checkpoint([{"name": name, "data": Tensor(array)} for name, array in tensors.items()], str(path))
    return str(path)


def test_an_imagenet_resnet_in_the_zoo_s_names_fills_the_backbone(stage_one, tmp_path):
    path = save(tmp_path / "resnet18_imagenet.ckpt", zoo_backbone(stage_one))
    after, before = load(path)
    backbone = {name for name in after if name.startswith("backbone.")}
    assert changed(after, before) == backbone
    assert len(backbone) == 100
    assert all(np.array_equal(after[name], stage_one[1][name]) for name in backbone)


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.pop("layer3.1.conv2.weight"), "layer3.1.conv2.weight"),
    (lambda t: t.update({"layer3.1.conv9.weight": np.ones((256, 256, 3, 3), np.float32)}), "layer3.1.conv9.weight")])
def test_a_name_too_few_or_too_many_in_a_backbone_is_an_error(stage_one, tmp_path, change, message):
    tensors = zoo_backbone(stage_one)
    change(tensors)
    with pytest.raises(InputError, match=re.escape(message)):
        load(save(tmp_path / "resnet.ckpt", tensors))


def test_a_crop_size_that_the_user_gives_is_the_evaluation_s_too():
    said = {"crop_size": 129, "eval_crop_size": 209}
    keys = DeepLabV3Config.network_keys()
    silent = DeepLabV3Config().adopting(said, keys)
    assert (silent.crop_size, silent.eval_crop_size) == (129, 209)
    given = DeepLabV3Config(crop_size=161).adopting(said, keys)
    assert (given.crop_size, given.eval_crop_size) == (161, 0)


# --- data -------------------------------------------------------------------------------------------------------------

def test_splits_come_from_a_list_or_from_records(tmp_path):
    path = write_data(tmp_path, 5)
    (tmp_path / "val.txt").write_text("images/3.jpg labels/3.png\n")
    dataset = ListDataset(tmp_path, path)
    build(dataset, tmp_path / "records")
    common = {"data_root": str(tmp_path)}
    task = tiny_task(**common, data_lst=str(path), val_data_lst=str(tmp_path / "val.txt"))
    assert (len(task.dataset("train")), len(task.dataset("val"))) == (5, 1)
    assert len(tiny_task(**common, data_lst=str(path)).dataset("val")) == 5  # what eval.py is given
    records = tiny_task(data_file=str(tmp_path / "records")).dataset("train")
    assert isinstance(records, RecordDataset)
    assert len(records) == 5


def test_no_data_and_twofold_data_are_named(tmp_path):
    with pytest.raises(InputError, match="train data.* missing.*--data_file.*--data_root"):
        tiny_task().dataset("train")
    with pytest.raises(InputError, match="val data.*records.*list.*--data_lst"):
        tiny_task(data_file="a", data_lst="b").dataset("val")
    for key in ("eval_interval", "preview_interval"):
        with pytest.raises(InputError, match=f"--{key}=2: .*--val_data_lst"):
            tiny_task(data_lst="b", **{key: 2}).dataset("val")


# --- classes and table ------------------------------------------------------------------------------------------------

def test_classes_have_names():
    assert DeepLabV3Config().names[15] == "person"
    assert tiny_task().class_names == ("class_0", "class_1", "class_2")
    assert tiny_task(class_names=("sky", "car", "tree")).class_names == ("sky", "car", "tree")


def test_the_table_shows_every_class_and_the_means():
    numbers = {"iou": {"sky": 0.5, "car": None}, "miou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": 0.25,
               "images": 3}
    lines = tiny_task().describe(numbers).splitlines()
    assert lines[1].split() == ["sky", "50.00"]
    assert lines[2].split() == ["car", "-"]
    assert lines[3] == "mean IoU 0.5000, pixel accuracy 0.7500, mean accuracy 0.2500, 3 images"


# --- memory -----------------------------------------------------------------------------------------------------------

def test_memory_grows_with_batch_crop_depth_and_finer_stride():
    base = {"depth": 50, "output_stride": 16, "batch_size": 2, "crop_size": 129, "num_classes": 21}
    least = activation_bytes(**base)
    for more in ({"batch_size": 4}, {"crop_size": 257}, {"depth": 101}, {"output_stride": 8}, {"num_classes": 151},
                 {"losses": ("ce", "ce")}, {"losses": ("ce", "lovasz")}):
        assert activation_bytes(**base | more) > least, more


PUBLISHED = {"depth": 101, "output_stride": 16, "batch_size": 32, "crop_size": 513, "num_classes": 21}


def test_the_published_batch_needs_a_large_machine():
    assert 50e9 < activation_bytes(**PUBLISHED) < 200e9


@pytest.mark.slow
@pytest.mark.skipif(psutil.virtual_memory().available > activation_bytes(**PUBLISHED), reason="memory suffices here")
def test_the_published_recipe_is_refused_before_compiling_with_the_flags_to_lower(tmp_path):
    path = write_data(tmp_path, 32)
    done = subprocess.run(
        [sys.executable, "train.py", "--device_target=CPU", "--batch_size=32", "--crop_size=513",
         f"--data_root={tmp_path}", f"--data_lst={path}", "--model=deeplab_v3_s16", f"--train_dir={tmp_path / 'run'}"],
        capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.search(r"error: a training step needs about \d+\.\d GiB of memory, \d+\.\d GiB are free; lower "
                     "--batch_size=32, --crop_size=513 or --backbone=resnet101", done.stderr)


def test_damaged_images_of_a_list_stop_a_run_or_are_left_out_and_listed(tmp_path, caplog):
    path = write_data(tmp_path, 4)
    image = tmp_path / "images/1.jpg"
    image.write_bytes(image.read_bytes()[:100])
    (tmp_path / "labels/2.png").unlink()
    with pytest.raises(InputError, match="list.txt:3: label .* does not exist"):
        tiny_task(data_root=str(tmp_path), data_lst=str(path)).dataset("train")
    dataset = tiny_task(data_root=str(tmp_path), data_lst=str(path), on_bad="skip").dataset("train")
    assert [record.image_id for record in dataset.rows([1, 0])] == [4, 1]
    assert len(dataset) == 2
    assert "2 of 4 records are left out" in caplog.text
    assert "list.txt:3: label" in caplog.text
    assert "list.txt:2: images/1.jpg: image is a damaged" in caplog.text


def test_a_run_with_another_dropout_is_resumed_by_the_flag_that_its_refusal_names():
    old, now = DeepLabV3Config(dropout=0.1), DeepLabV3Config()
    with pytest.raises(InputError, match=r"m-1_3.ckpt: .*dropout=0.7 \(was 0.1\).* --dropout=0.1") as error:
        _check_settings(now, old.model_dump(mode="json"), Path("m-1_3.ckpt"))
    flag = re.search(r"--dropout=\S+(?=,)", str(error.value)).group()
    same = tasks.parse_settings([flag], program="train.py", groups=("train",))
    _check_settings(same, old.model_dump(mode="json"), Path("m-1_3.ckpt"))
