"""MindSpore Hub's interface: `create_network(name, **settings)` builds one of the models with fresh weights."""
from __future__ import annotations

from src import tasks
from src.config import build

ALIASES = {"maskrcnn": "mask_rcnn_r50"}  # the name that the hub listed it under


def create_network(name: str, **settings):
    """Build the inference network of a model.

    Args:
        name: "deeplab_v3_s16", "deeplab_v3_s8" or "mask_rcnn_r50" (also "maskrcnn").
        settings: keys of the model's configuration, for example `num_classes=21` or `backbone="resnet50"`.

    Returns:
        An `nn.Cell`, in evaluation mode. `src.engine.weights.load_weights` fills it.

    Raises:
        InputError: an unknown name, unknown keys or values out of range.
    """
    model = ALIASES.get(name, name)
    config = build(tasks.config_class(model), {"model": model, **settings}).completed()
    return tasks.create(config).network().set_train(False)
