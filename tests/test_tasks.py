"""What a checkpoint has to bring along so that it is evaluated as it was during its training."""
import src  # noqa: F401  isort: skip
import pytest

from src import tasks
from src.config import build

CONFIGS = {"deeplab_v3_s16": {"backbone": "resnet18"},
           "mask_rcnn_r50": {"backbone": "resnet18", "coco_classes": ("background", "a"), "checkpoint": "some.ckpt"}}
# Used in training alone, or given by every evaluation for itself.
TRAINING = {"bn_momentum", "box_ops", "device_target", "dropout", "freeze_at", "freeze_bn", "loss", "noise", "seed"}


@pytest.mark.parametrize("model", CONFIGS)
def test_all_that_a_network_is_built_from_comes_with_its_weights(model, monkeypatch):
    cls, read = tasks.config_class(model), set()
    config = build(cls, CONFIGS[model] | {"model": model}).completed()

    def recorded(self, name):
        read.add(name)
        return object.__getattribute__(self, name)

    monkeypatch.setattr(cls, "__getattribute__", recorded)
    tasks.create(config).network()
    monkeypatch.undo()
    keys = read & set(cls.model_fields)
    assert len(keys) > 10
    assert keys - {*cls.network_keys()} <= TRAINING | {"model", "max_pixels", "inference_engine"}


@pytest.mark.parametrize(("family", "model"), [("deeplabv3", "deeplab_v3_s16"), ("maskrcnn", "mask_rcnn_r50")])
def test_the_name_of_a_family_means_its_default_model(family, model, tmp_path):
    assert tasks.config_class(family) is tasks.config_class(model)
    assert tasks.config_class(family).family == family
    (tmp_path / "mine.yaml").write_text(f"model: {family}\n")
    named = f"--model={family}"
    for words in ([named], [named, f"--config={tmp_path / 'mine.yaml'}"], ["--model", model]):
        for script in ("train", "eval", "export"):
            assert tasks.parse_settings(words, program=f"{script}.py", groups=(script,)).model == model
    assert build(tasks.config_class(family), {"model": family}).model == model


def test_a_preset_chooses_among_the_models_of_a_family():
    named = tasks.parse_settings(["--model=deeplabv3", "--config=s8_r1"], program="train.py", groups=("train",))
    assert named.model == "deeplab_v3_s8"


def test_a_checkpoint_chooses_among_the_models_of_a_family():
    named = tasks.parse_settings(["--model=deeplabv3"], program="eval.py", groups=("eval",))
    assert named.adopting({"model": "deeplab_v3_s8"}, named.network_keys()).model == "deeplab_v3_s8"
    exact = tasks.parse_settings(["--model=deeplab_v3_s16"], program="eval.py", groups=("eval",))
    assert exact.adopting({"model": "deeplab_v3_s8"}, exact.network_keys()).model == "deeplab_v3_s16"
