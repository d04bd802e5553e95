"""What a checkpoint has to bring along so that it is evaluated as it was during its training."""
import src  # noqa: F401  isort: skip
import pytest

from src import tasks
from src.config import build

CONFIGS = {"deeplab_v3_s16": {"backbone": "resnet18"},
           "mask_rcnn_r50": {"backbone": "resnet18", "coco_classes": ("background", "a"), "checkpoint": "some.ckpt"}}
# Used in training alone, or given by every evaluation for itself.
TRAINING = {"bn_momentum", "dropout", "freeze_bn", "noise", "seed"}


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
    assert keys - {*cls.network_keys()} <= TRAINING | {"model"}
