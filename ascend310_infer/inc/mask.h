// Instance masks: from a small mask and a box to pixels. A full-size mask never exists.
#ifndef MINDSEG_MASK_H_
#define MINDSEG_MASK_H_

#include <opencv2/core.hpp>
#include <optional>

#include "preprocess_spec.h"

namespace mindseg {

// Corners in pixels, half-open.
struct Box {
  float x1, y1, x2, y2;
};

// A box in the frame of the resized image -> in the original's, clipped to it.
Box scaled(const Box& box, Size valid, Size original);

// Pixels of a mask inside an image; either side may be 0.
struct Region {
  cv::Mat pixels;  // 8 bits, 0 or 1
  int top = 0;
  int left = 0;
};

// Resizes a square float mask to its box and thresholds it. Without `paste_pad` the mask is sampled at the centres of
// the pixels that lie in the box; 1 widens mask and box by a cell of zeros, 0 counts the box's last pixel twice: the
// rules that published weights were evaluated with.
Region paste(const cv::Mat& mask, const Box& box, Size image, const std::optional<int>& paste_pad, double threshold);

}  // namespace mindseg
#endif  // MINDSEG_MASK_H_
