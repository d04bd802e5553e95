"""Mask R-CNN (He et al. 2017, arXiv:1703.06870) with a feature pyramid (Lin et al. 2017, arXiv:1612.03144).

Vocabulary
    B, H, W     batch size; height and width of the network's input, multiples of 32
    P2..P6      feature pyramid levels, strides 4 to 64; the RPN reads all five, RoIAlign reads P2..P5
    A           anchors of an image over all levels, in the order (level, row, column, anchor shape)
    G           ground truth slots of an image; `gt_valid` says which are filled
    P           proposals of an image; R sampled RoIs of an image; D detections of an image
    K           number of classes, index 0 is background
    C           channels of the pyramid
    M           side of a stored mask crop; S = 28 side of a predicted mask
    image       (B, 3, H, W) float32, normalised by the recipe
    image_size  (B, 2) float32, (height, width) of the part of the input that is image, the rest is padding
    boxes       float32 xyxy in the input's frame (`boxes_input`), half-open: w = x2 - x1 (`box_offset` = 0; weights
                from the model zoo count pixels instead, w = x2 - x1 + 1, `box_offset` = 1)
    deltas      (dx, dy, dw, dh) that move a box onto another: shift in units of its size, log of the size ratio,
                both divided by `stds`
    gt_ignore   crowd regions: boxes inside them are neither positive nor negative
    gt_masks    (B, G, M, M) uint8: the mask in its own box's frame, 0..255 = fraction of the cell that it covers
    gt_has_mask (B, G) bool: false where an instance has a box but no mask; the mask loss leaves it out
"""

COLUMNS = ("image", "image_size", "gt_boxes", "gt_labels", "gt_valid", "gt_ignore", "gt_masks", "gt_has_mask",
           "sample_id", "epoch")
LOSS_NAMES = ("total_loss", "rpn_loss", "rcnn_loss", "rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss",
              "rcnn_mask_loss")
UNDECIDED = "undecided_boxes"  # a further scalar if NMS uses plain operators: see `nms.plain_nms`
DETECTIONS = ("boxes_input", "labels", "scores", "valid", "masks")
