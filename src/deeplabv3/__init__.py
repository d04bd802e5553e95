"""DeepLabV3 (Chen et al. 2017, arXiv:1706.05587): atrous convolution for semantic image segmentation.

Vocabulary
    B, H, W     batch size; height and width of the network's input
    h, w        height and width of C5: H / output_stride, rounded up
    K           number of classes, background included
    image       (B, 3, H, W) float32, normalised by the recipe's mean and std, in its colour order
    label       (B, H, W) int32 class index; `ignore_label` (255) marks pixels that do not count
    logits      (B, K, H, W) float32
    crop_size   side of the square training crop, and of the square canvas of an evaluation at scale 1
    output stride   input size / size of C5: 16 (s16) or 8 (s8)
"""
