"""export.py from the command line: what it refuses, and both models from checkpoint to files with its results."""
import src  # noqa: F401  isort: skip
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError
from tests.conftest import running_mode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def export(monkeypatch, tmp_path):
    """export.py as a function of its flags, run in an empty folder."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)

    def run(*flags: str) -> int:
        monkeypatch.setattr(sys, "argv", ["export.py", "--device_target=CPU", *flags])
        return importlib.import_module("export").main()

    with running_mode("GRAPH"):
        yield run


@pytest.mark.parametrize(("flags", "message"), [
    ([], "--ckpt_file is missing"),
    (["--ckpt_file=no.ckpt"], "no.ckpt: no such file"),
    (["--ckpt_file=folder"], "folder: is a folder"),
    (["--ckpt_file=text.ckpt"], "text.ckpt: "),
    (["--ckpt_file=empty.ckpt"], "the file is empty"),
    (["--ckpt_file=no.ckpt", "--file_format=XML"], "--file_format=.XML.*'MINDIR', 'AIR' or 'ONNX'"),
    (["--ckpt_file=no.ckpt", "--file_format=MINDIR,TFLITE"], "--file_format"),
    (["--ckpt_file=no.ckpt", "--precision=int8"], "--precision=.*'float32' or 'float16'"),
    (["--ckpt_file=no.ckpt", "--input_size=20"], "input_size=20: expected at least 33"),
    (["--ckpt_file=no.ckpt", "--export_batch_size=-1"], "--export_batch_size"),
    (["--ckpt_file=no.ckpt", "--model=mask_rcnn_r50", "--img_width=100"], "img_width=100: .*multiple of 32"),
    (["--ckpt_file=no.ckpt", "--model=mask_rcnn_r101"], "unknown model; did you mean mask_rcnn_r50"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_input_is_explained(export, tmp_path, flags, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(InputError, match=message):
        export(*flags)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.ckpt", "folder", "text.ckpt"]


@pytest.mark.parametrize(("flag", "message"), [
    ("--file_formt=ONNX", "unknown flag --file_formt; did you mean --file_format?"),
    ("--epochs=3", "--epochs is a flag of train.py, not of export.py")])
def test_wrong_flags_end_with_status_2(export, capsys, flag, message):
    with pytest.raises(SystemExit) as stop:
        export(flag)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def save_checkpoint(task, path: Path, *, balanced_on: np.ndarray | None = None) -> None:
    """A checkpoint as train.py writes it, with weights and statistics that show a mistake in folding.

    Args:
        balanced_on: (B, 3, H, W) inputs on which a DeepLabV3 is to find every class, none more likely than another.
    """
    import mindspore as ms

    from src.engine import checkpoint
    from src.weights.load import to_metadata

    ms.set_seed(1)
    network, rng = task.network(), np.random.default_rng(0)
    for name, parameter in network.parameters_and_names():
        if name.endswith(("moving_mean", "beta")):
            parameter.set_data(ms.Tensor(rng.normal(0, 0.2, parameter.shape).astype(np.float32)))
        if name.endswith(("moving_variance", "gamma")):
            parameter.set_data(ms.Tensor(rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
        if name in ("classifier.weight", "box_head.cls.weight", "rpn.cls.weight"):
            parameter.set_data(ms.Tensor(rng.normal(0, 0.05, parameter.shape).astype(np.float32)))
    if balanced_on is not None:
        logits = network.set_train(False)(ms.Tensor(balanced_on))
        network.classifier.bias.set_data(network.classifier.bias - logits.mean((0, 2, 3)))
    checkpoint.save(path, network, to_metadata("mindseg", task.config.conventions()))


@pytest.mark.slow
def test_deeplabv3_from_checkpoint_to_files(export, tmp_path, caplog):
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task
    from src.exporting import runners

    task = DeepLabV3Task(DeepLabV3Config(device_target="CPU", backbone="resnet18", crop_size=65, num_classes=3))
    save_checkpoint(task, tmp_path / "a.ckpt")
    caplog.set_level("INFO")
    with pytest.raises(InputError, match="--file_format=AIR: .*--device_target=Ascend, or export MINDIR .* or ONNX"):
        export("--ckpt_file=a.ckpt", "--file_format=AIR", "--file_format=ONNX")
    assert export("--ckpt_file", "a.ckpt", "--file_format", "MINDIR", "--file_format", "onnx",
                  "--export_batch_size=2") == 0
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.ckpt", "a.mindir", "a.onnx", "preprocess.json"]
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o644}
    assert sum("label pixels equal" in message for message in caplog.messages) == 3
    spec = json.loads((tmp_path / "preprocess.json").read_text())
    assert spec["files"] == {"MINDIR": "a.mindir", "ONNX": "a.onnx"}
    assert spec["model"] == "deeplab_v3_s16"
    inputs = np.random.default_rng(0).normal(0, 1, spec["inputs"][0]["shape"]).astype(np.float32)
    results = [runners.load(tmp_path / f"a.{kind}")(inputs)[0] for kind in ("mindir", "onnx")]
    assert list(results[0].shape) == spec["outputs"][0]["shape"] == [2, 3, 65, 65]
    assert np.abs(results[0] - results[1]).max() < 1e-4
    assert results[0].std() > 0.01
    with pytest.raises(InputError, match="a.mindir was exported with other settings"):
        export("--ckpt_file=a.ckpt", "--file_format=ONNX", "--output=labels")
    assert "enlarged" not in caplog.text
    assert export("--ckpt_file=a.ckpt", "--file_name=labels/x.onnx", "--file_format=ONNX", "--output=labels") == 0
    assert "nearest neighbour" in caplog.text
    assert "--output=scores gives eval.py's numbers" in caplog.text
    assert sorted(p.name for p in (tmp_path / "labels").iterdir()) == ["preprocess.json", "x.onnx"]


@pytest.mark.slow
def test_maskrcnn_from_checkpoint_to_files(export, tmp_path, monkeypatch, caplog):
    from src.exporting import flow
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask
    from tests.maskrcnn.test_task import TINY

    task = MaskRCNNTask(MaskRCNNConfig(**TINY, dataset="other", num_classes=4, coco_classes=(
        "background", "disc", "square", "star")).completed())
    save_checkpoint(task, tmp_path / "a.ckpt")
    small = ("--rpn_nms_pre=40", "--rpn_max_num=20")
    fold = flow.fold_batch_norms

    def shifted(network) -> int:
        network.box_head.cls.bias += 0.5  # an exported network that is not the checkpoint's
        network.box_head.cls.bias[1] += 2.0
        return fold(network)

    monkeypatch.setattr(flow, "fold_batch_norms", shifted)
    with pytest.raises(InputError, match="x.mindir in MindSpore does not give the checkpoint's results"):
        export("--ckpt_file=a.ckpt", "--file_name=x", *small)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]
    monkeypatch.setattr(flow, "fold_batch_norms", fold)
    small += ("--precision=float16",)
    assert export("--ckpt_file=a.ckpt", "--file_name=x", "--file_format=MINDIR,ONNX", *small) == 0
    spec = json.loads((tmp_path / "preprocess.json").read_text())
    assert [(t["name"], t["dtype"]) for t in spec["outputs"]] == [
        ("boxes", "float32"), ("labels", "int32"), ("scores", "float16"), ("valid", "bool"), ("masks", "float16")]
    assert spec["class_names"][1:] == ["disc", "square", "star"]
    assert spec["category_ids"] == [0, 1, 2, 3]
    (tmp_path / "y.onnx").touch()
    with pytest.raises(InputError, match="y.onnx: exists, and no preprocess.json says"):
        export("--ckpt_file=a.ckpt", "--file_name=y", "--file_format=ONNX", *small)
    (tmp_path / "pictures").mkdir()
    for pictures, message in (("pictures", "pictures: holds no image"), ("gone", "--sample_images=gone: no such file")):
        with pytest.raises(InputError, match=message):
            export("--ckpt_file=a.ckpt", "--file_name=z/y", f"--sample_images={pictures}", *small)
    assert "no detection was compared" not in caplog.text
    assert export("--ckpt_file=a.ckpt", "--file_name=z/y", "--test_score_thr=0.9999", *small) == 0
    assert "no detection was compared" in caplog.text
    assert "Give --sample_images=FOLDER" in caplog.text


def failing_export(folder: Path, other: Path | None = None) -> None:
    from src.exporting import flow

    with flow.made(folder):
        if other:
            other.write_text("of somebody else")
        raise InputError("other results")


def test_folders_made_for_an_export_that_fails_are_removed_unless_they_are_used(tmp_path):
    with pytest.raises(InputError):
        failing_export(tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError):
        failing_export(tmp_path / "a/b", tmp_path / "a/other")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "other"]
