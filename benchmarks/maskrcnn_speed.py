"""Mask R-CNN ResNet-50-FPN against torchvision's on a CPU: one training step, one inference.

    python benchmarks/maskrcnn_speed.py --peer_python=PEERS/bin/python
    python benchmarks/maskrcnn_speed.py --peer_python=PEERS/bin/python --mode=infer --inference_engine=openvino

`PEERS` is a virtual environment with requirements/peers.txt; the peer runs there, without our CPU switch. Batch 2,
384 x 640, 2 threads, 3 objects an image, 91 classes, batch normalisation, nothing frozen. Both sides have the same
random weights, images and objects, and do the same amount of work:

- training: 2000 boxes a level, 2000 proposals an image, 256 anchors, 512 RoIs of which `--positives` are positive and
  train the masks (torchvision: `box_positive_fraction`; both: positive from an IoU of 0.1 on, so that three objects
  have that many);
- inference: 1000 boxes a level, 1000 proposals, 100 detections an image (the class layer's weights are enlarged, so
  that scores pass torchvision's threshold of 0.05), masks in the image: torchvision's as arrays, ours as RLE.

Each worker reports what it counted. A ratio below 1 means that ours is faster.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import torchvision_peer

BATCH, HEIGHT, WIDTH, CLASSES, OBJECTS, SLOTS, CROP = 2, 384, 640, 91, 3, 128, 112
ROIS, POSITIVE_IOU, LEARNING_RATE = 512, 0.1, 1e-4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = torchvision_peer.flags(__doc__.splitlines()[0])
    parser.add_argument("--positives", type=int, default=128, help="positive RoIs an image in training")
    parser.add_argument("--box_ops", default="primitive", choices=("primitive", "plain"), help="see train.py")
    torchvision_peer.main(parser, "Mask R-CNN R50-FPN {mode}, {inference_engine}", ours=ours, torchvision=torchvision)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (B, 3, H, W) in 0..1, boxes (B, 3, 4), labels (B, 3) and masks (B, 3, H, W) of ellipses."""
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, 3, HEIGHT, WIDTH), np.float32)
    corner = rng.uniform(0, (WIDTH - 220, HEIGHT - 180), (BATCH, OBJECTS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform((60, 50), (220, 180), corner.shape)], -1).astype(np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    x1, y1, x2, y2 = (boxes[..., i, None, None] for i in range(4))
    distance = ((x - (x1 + x2) / 2) / (x2 - x1) * 2) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1) * 2) ** 2
    return images, boxes, rng.integers(1, CLASSES, boxes.shape[:2]), (distance <= 1).astype(np.uint8)


def ours(args: argparse.Namespace):
    import src  # noqa: F401  the CPU switch
    import mindspore as ms

    from src.weights.load import load_weights, read_weights
    from src.maskrcnn.build import Conventions, build_network
    from src.maskrcnn.paste import to_instances

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    said = read_weights(args.weights).report.conventions if args.weights else {}
    conventions = Conventions.of_family(said, bn_eps=1e-5)
    network = build_network(conventions, num_classes=CLASSES, norm="batch", plain=args.box_ops == "plain")
    if args.weights:
        load_weights(network, args.weights)
    columns = columns_of_scene()
    if args.mode == "train":
        return training(network, conventions, args, list(map(ms.Tensor, columns)))
    run = torchvision_peer.served(args, network.set_train(False))

    def infer() -> dict[str, float]:
        arrays = run(*columns[:2])
        found = [to_instances(i, tuple(array[i] for array in arrays), image_size=(HEIGHT, WIDTH), paste_pad=1,
                              original_size=(HEIGHT, WIDTH)) for i in range(BATCH)]
        return {"detections": sum(len(one.scores) for one in found), "sum of scores": float(arrays[2].sum())}

    return infer


def columns_of_scene() -> list[np.ndarray]:
    """The columns of a training batch: see `src/maskrcnn/__init__.py`."""
    from pycocotools import mask as coco_mask

    from src.data.instance.target import mask_crop

    images, boxes, labels, masks = scene()
    gt_boxes, gt_labels = np.zeros((BATCH, SLOTS, 4), np.float32), np.zeros((BATCH, SLOTS), np.int32)
    valid, crops = np.zeros((BATCH, SLOTS), bool), np.zeros((BATCH, SLOTS, CROP, CROP), np.uint8)
    gt_boxes[:, :OBJECTS], gt_labels[:, :OBJECTS], valid[:, :OBJECTS] = boxes, labels, True
    for image, slot in np.ndindex(BATCH, OBJECTS):
        rle = coco_mask.encode(np.asfortranarray(masks[image, slot], np.uint8))["counts"].decode()
        crops[image, slot] = mask_crop({"counts": rle}, (HEIGHT, WIDTH), boxes[image, slot], CROP)
    images = (images - np.float32(MEAN).reshape(3, 1, 1)) / np.float32(STD).reshape(3, 1, 1)
    size = np.tile(np.float32([HEIGHT, WIDTH]), (BATCH, 1))
    return [images, size, gt_boxes, gt_labels, valid, np.zeros_like(valid), crops, valid,
            np.arange(BATCH, dtype=np.int32), np.zeros(BATCH, np.int32)]


def training(network, conventions, args: argparse.Namespace, columns: list):
    from src.engine.optim import momentum_optimizer
    from src.engine.train_step import TrainStep
    from src.maskrcnn.build import Sampling, build_losses

    rois = Sampling(negative_iou=POSITIVE_IOU, positive_iou=POSITIVE_IOU, best_iou=None, max_positive=args.positives,
                    samples=ROIS)
    losses = build_losses(network, conventions, rois=rois, mask_rois=args.positives, box_beta=1 / 9,
                          plain=network.proposals.plain)
    rates = np.full(1000, LEARNING_RATE, np.float32)
    optimizer = momentum_optimizer(network.trainable_params(), rates, momentum=0.9, weight_decay=1e-4)
    step = TrainStep(losses, optimizer).set_train()

    def train() -> dict[str, float]:
        return {"loss": float(step(*columns)[0].asnumpy())}

    return train


def torchvision(args: argparse.Namespace):
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    network = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=HEIGHT, max_size=WIDTH,
        box_batch_size_per_image=ROIS, box_positive_fraction=args.positives / ROIS, box_fg_iou_thresh=POSITIVE_IOU,
        box_bg_iou_thresh=POSITIVE_IOU)
    images, boxes, labels, masks = (torch.from_numpy(array) for array in scene())
    liven(network, (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    torch.save(network.state_dict(), args.weights)
    images = list(images)
    targets = [{"boxes": boxes[i], "labels": labels[i], "masks": masks[i]} for i in range(BATCH)]
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    counted = {}
    network.roi_heads.mask_head.register_forward_hook(lambda _, x, y: counted.update({"mask RoIs": len(x[0])}))
    network.roi_heads.box_head.register_forward_hook(lambda _, x, y: counted.update({"box RoIs": len(x[0])}))

    def train() -> dict[str, float]:
        optimizer.zero_grad()
        loss = sum(network(images, targets).values())
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), **counted}

    def infer() -> dict[str, float]:
        with torch.inference_mode():
            found = network(images)
        return {"detections": sum(len(one["scores"]) for one in found),
                "sum of scores": sum(float(one["scores"].sum()) for one in found), **counted}

    network.train(args.mode == "train")
    return train if args.mode == "train" else infer


def liven(network, images) -> None:
    """Make random weights behave like trained ones: statistics of their own features, distinct scores."""
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.backbone(images)
        network.roi_heads.box_predictor.cls_score.weight *= 12
        network.roi_heads.box_predictor.cls_score.bias[0] += 2
    for norm in norms:
        norm.momentum = 0.1


if __name__ == "__main__":
    main()
