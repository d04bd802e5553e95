// From class scores of the network's canvas to a label map of the original image.
#ifndef MINDSEG_LABEL_MAP_H_
#define MINDSEG_LABEL_MAP_H_

#include <opencv2/core.hpp>

#include "preprocess_spec.h"

namespace mindseg {

// `scores` are `classes` planes of a canvas of `canvas` size whose top left `valid` part is the image. They are resized
// to `original` (bilinear, pixel centres, as cv::resize) and the best class of each pixel is taken, the first among
// equals.
cv::Mat label_map(const float* scores, int classes, Size canvas, Size valid, Size original);

// Where the network returns labels already: crop, then nearest neighbour.
cv::Mat label_map(const cv::Mat& labels, Size valid, Size original);

}  // namespace mindseg
#endif  // MINDSEG_LABEL_MAP_H_
