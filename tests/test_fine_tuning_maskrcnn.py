"""Fine-tuning Mask R-CNN from each family: the first losses of train.py on real data are those computed apart.

Apart means: a network built here, with the family's arithmetic written out and without a configuration, and matching,
targets and losses in numpy. All anchors and all RoIs are sampled, so that no chance is left.
"""
from __future__ import annotations

import json

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from tests.fine_tuning import check_taken_over, first_step, publish, random_weights

HEIGHT, WIDTH, SLOTS, PROPOSALS, MASKS = 96, 128, 8, 40, 24
RGB = {"colour_order": "RGB", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
ZOO = {"stem_pool": "same", "bn_eps": 1e-5, "box_offset": 1, "anchor_centre": "pixel", "fpn_upsample": "asymmetric",
       "delta_clip": "both", "roi_level": "eps_inside"}
TORCHVISION = {"stem_pool": "pad", "bn_eps": 0.0, "box_offset": 0, "anchor_centre": "origin", "fpn_upsample": "nearest",
               "delta_clip": "above", "roi_level": "eps_outside"}
CLASSIFIER = {f"{layer}.{leaf}" for layer in ("box_head.cls", "box_head.reg", "mask_head.predict")
              for leaf in ("weight", "bias")}


def small_coco(folder, shared):
    """Two landscape images of COCO with two to six objects each and no crowd, in COCO's layout."""
    data = shared / "data/coco_open"
    content = json.loads((data / "annotations/instances_train2017.json").read_text())
    by_image = {image["id"]: [a for a in content["annotations"] if a["image_id"] == image["id"]]
                for image in content["images"]}
    images = [image for image in content["images"] if image["width"] > image["height"]
              and 2 <= len(by_image[image["id"]]) <= 6 and not any(a["iscrowd"] for a in by_image[image["id"]])][:2]
    content |= {"images": images, "annotations": [a for image in images for a in by_image[image["id"]]]}
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(content))
    (folder / "train2017").symlink_to(data / "train2017")
    return folder


def build(options, num_classes):
    from src.maskrcnn.build import Conventions, build_network

    return build_network(Conventions(**options), num_classes=num_classes).set_train(False)


def batch(root, class_map, num_classes, pad_before_normalise):
    """The columns of the first batch but the last two, as the training pipeline makes them."""
    from src.data import order
    from src.data.instance.coco import CocoDataset
    from src.data.pipeline import augmented_batch
    from src.maskrcnn.augmentation import TrainAugmentation
    from src.maskrcnn.preprocess import Preprocess

    preprocess = Preprocess((HEIGHT, WIDTH), RGB["mean"], RGB["std"], "RGB", pad_before_normalise=pad_before_normalise)
    dataset = CocoDataset(root / "annotations/instances_train2017.json", root / "train2017", class_map=class_map)
    return augmented_batch(dataset, order.rank_order(2, seed=1, epoch=0, batch_size=2), 0, seed=1,
                           augmentation=TrainAugmentation(preprocess, num_classes, max_instances=SLOTS,
                                                          expand_ratio=0.0))[:8]


# --- the formulas -----------------------------------------------------------------------------------------------------

def overlaps(boxes, truths, offset):
    """(N, 4) and (M, 4) -> IoU (M, N)."""
    def area(x):
        return (x[..., 2] - x[..., 0] + offset) * (x[..., 3] - x[..., 1] + offset)

    low, high = np.maximum(boxes[None, :, :2], truths[:, None, :2]), np.minimum(boxes[None, :, 2:], truths[:, None, 2:])
    common = np.clip(high - low + offset, 0, None).prod(-1)
    return common / (area(boxes)[None] + area(truths)[:, None] - common)


def encoded(boxes, truths, offset, stds):
    size, true_size = (x[:, 2:] - x[:, :2] + offset for x in (boxes, truths))
    moved = (truths[:, :2] + truths[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / size
    return np.concatenate([moved, np.log(true_size / size)], 1) / stds


def smooth_l1(x, beta):
    x = np.abs(x)
    return np.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)


def binary_cross_entropy(logits, targets):
    return np.logaddexp(0, logits) - logits * targets


def share_of_cells(crop, truth, box, size=28):
    """(size, size) share of each cell of `box` that the object covers; `crop` covers the cells of `truth`."""
    side = crop.shape[0]
    integral = np.pad(crop.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    edges = [np.clip((box[a] + (box[a + 2] - box[a]) * np.arange(size + 1) / size - truth[a])
                     / (truth[a + 2] - truth[a]) * side, 0, side) for a in (1, 0)]
    rows, columns = (np.clip(1 - np.abs(e[:, None] - np.arange(side + 1)), 0, 1) for e in edges)
    cell = (box[2] - box[0]) * (box[3] - box[1]) / size ** 2
    inside = (truth[2] - truth[0]) * (truth[3] - truth[1]) / side ** 2
    return np.diff(np.diff(rows @ integral @ columns.T, axis=0), axis=1) * inside / cell


def rpn_terms(logits, deltas, anchors, truths, offset):
    """Sums of the two losses over one image's anchors, and how many count."""
    iou = overlaps(anchors, truths, offset)
    best, owner, peak = iou.max(0), iou.argmax(0), iou.max(1, keepdims=True)
    positive = (best >= 0.7) | ((iou > peak - 1e-6) & (peak >= 0.3)).any(0)
    chosen = positive | (best < 0.3)
    wanted = encoded(anchors[positive], truths[owner[positive]], offset, np.ones(4))
    return (binary_cross_entropy(logits, positive)[chosen].sum(), smooth_l1(deltas[positive] - wanted, 1 / 9).sum(),
            chosen.sum())


def box_terms(scores, moves, rois, truths, labels, offset):
    """The same for one image's RoIs, with which of them are positive and whose."""
    iou = overlaps(rois, truths, offset)
    owner, positive = iou.argmax(0), iou.max(0) >= 0.5
    own, every = labels[owner] * positive, np.arange(len(rois))
    top = scores.max(1)
    cross_entropy = np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[every, own]
    wanted = encoded(rois[positive], truths[owner[positive]], offset, np.array([0.1, 0.1, 0.2, 0.2]))
    return cross_entropy.sum(), smooth_l1(moves[every, own][positive] - wanted, 1.0).sum(), positive, owner


def losses_apart(network, options, columns):
    """{name: value}, as in the log."""
    import mindspore as ms

    from src.maskrcnn.network import feature_sizes
    from src.maskrcnn.proposals import ProposalGenerator
    from src.maskrcnn.roi import feature_table

    def exact(x):
        return x.asnumpy().astype(np.float64)

    image, size, gt_boxes, gt_labels, gt_valid, _, gt_masks, _ = columns
    propose = ProposalGenerator(before_nms=200, after_nms=PROPOSALS, box_offset=options["box_offset"],
                        delta_clip=options["delta_clip"])
    sums, counts = np.zeros(5), np.zeros(5)
    for k in range(len(image)):
        pixels = ms.Tensor(image[k:k + 1])
        levels = network.fpn(network.backbone(pixels))
        logits, deltas = network.rpn(levels)
        anchors = network.anchors(pixels, levels)
        outputs = propose(logits, deltas, anchors, ms.Tensor(size[k:k + 1]))
        proposals, valid = (x.asnumpy()[0] for x in outputs[:2])
        truths, labels = gt_boxes[k][gt_valid[k]], gt_labels[k][gt_valid[k]]
        rois = np.concatenate([proposals[valid], truths])
        table, sizes = feature_table(levels[:4]), feature_sizes(levels[:4])
        scores, moves = network.box_head(network.box_align(table, ms.Tensor(rois[None]), sizes))

        exactly = truths.astype(np.float64)
        logits, deltas = (np.concatenate([exact(level)[0] for level in x]) for x in (logits, deltas))
        rpn_cls, rpn_reg, anchors_chosen = rpn_terms(logits, deltas, exact(anchors), exactly, options["box_offset"])
        rcnn_cls, rcnn_reg, positive, owner = box_terms(exact(scores), exact(moves), rois.astype(np.float64), exactly,
                                                        labels, options["box_offset"])
        assert 0 < positive.sum() <= MASKS
        rois, owner = rois[positive], owner[positive]
        masks = exact(network.mask_head(network.mask_align(table, ms.Tensor(rois[None]), sizes),
                                        ms.Tensor(labels[owner])))
        targets = [share_of_cells(gt_masks[k][t] / 255, exactly[t], roi.astype(np.float64)) >= 0.5
                   for roi, t in zip(rois, owner)]
        rcnn_mask = binary_cross_entropy(masks, np.stack(targets)).mean((1, 2)).sum()
        sums += rpn_cls, rpn_reg, rcnn_cls, rcnn_reg, rcnn_mask
        counts += anchors_chosen, anchors_chosen, len(scores), len(scores), len(rois)
    parts = sums / counts
    names = ("rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss", "rcnn_mask_loss")
    return dict(zip(names, parts)) | {"total_loss": parts.sum()}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "options", "flags", "classes"), [
    ("zoo_maskrcnn", ZOO, ("--filter_weight=False",), (81, 81)),
    ("torchvision_maskrcnn", TORCHVISION, ("--filter_weight=False", "--class_map=id", "--num_classes=91"), (91, 91)),
    ("torchvision_maskrcnn", TORCHVISION, (), (91, 81))])
def test_first_losses(shared, tmp_path, family, options, flags, classes):
    import mindspore as ms

    root = small_coco(tmp_path / "coco", shared)
    published = random_weights({n: p.shape for n, p in build(options, classes[0]).parameters_and_names()})
    path = publish(tmp_path / "weights.safetensors", family, published)
    line, weights, printed = first_step(
        tmp_path, path, "--model=mask_rcnn_r50", f"--coco_root={root}", "--batch_size=2", "--expand_ratio=0",
        f"--img_height={HEIGHT}", f"--img_width={WIDTH}", f"--max_instance_count={SLOTS}", "--total_epoch=0",
        "--rpn_proposal_nms_pre=200", f"--rpn_proposal_max_num={PROPOSALS}", "--num_expected_pos=5000",
        "--num_expected_neg=5000", "--num_expected_pos_stage2=100", "--num_expected_neg_stage2=100",
        f"--num_mask_rois={MASKS}", *flags)
    network = build(options, classes[1])
    for name, parameter in network.parameters_and_names():
        parameter.set_data(ms.Tensor(weights[name]))
    columns = batch(root, "id" if classes[1] == 91 else "order", classes[1], family.startswith("zoo"))
    for name, value in losses_apart(network, options, columns).items():
        assert line[name] == pytest.approx(value, rel=1e-4), name
    replaced = CLASSIFIER if classes[0] != classes[1] else set()
    check_taken_over(weights, published, replaced)
    if replaced:
        said = printed.split("as the classifier is replaced: ")[1].splitlines()[0].split(", ")
        assert set(said) == replaced
        assert weights["box_head.cls.weight"].shape == (81, 1024)
    else:
        assert "replaced" not in printed
