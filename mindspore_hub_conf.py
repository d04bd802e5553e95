"""MindSpore Hub's interface: `create_network(name, **settings)` builds one of the models."""
from __future__ import annotations

from src import tasks
from src.config import build

COCO = 81  # classes of a Mask R-CNN by default, background included
_SAY_CLASSES = {"num_classes", "coco_classes", "checkpoint", "pretrained", "coco_root", "ann_file", "anno_path",
                "data_file"}


def create_network(name: str, **settings):
    """Build the inference network of a model.

    Args:
        name: "deeplab_v3_s16", "deeplab_v3_s8" or "mask_rcnn_r50"; or "deeplabv3" or "maskrcnn" for the default one.
        settings: keys of the model's configuration, for example `num_classes=21` or `backbone="resnet50"`. Where
            nothing says the classes they are COCO's 81, of DeepLabV3 PASCAL VOC's 21. With `checkpoint=FILE` the
            network is the one that these weights were trained for, and holds them.

    Returns:
        An `nn.Cell`, in evaluation mode, with fresh weights unless there is a checkpoint;
        `src.weights.load.load_weights` fills it.

    Raises:
        InputError: an unknown name, unknown keys or values out of range, or a checkpoint that does not fit.
    """
    cls, values = tasks.config_class(name), {"model": name, **settings}
    config = build(cls, values)
    if not config.num_classes and not config.model_fields_set & _SAY_CLASSES:
        config = build(cls, values | {"num_classes": COCO})
    config = tasks.with_conventions(config)
    task = tasks.create(config)
    network = task.network().set_train(False)
    if config.checkpoint:
        from src.weights.load import load_weights

        load_weights(network, config.checkpoint, expect_unexpected=task.may_be_missing)
    return network
