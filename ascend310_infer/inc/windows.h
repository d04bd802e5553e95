// Windows over an image that keeps its size: where they lie, and the label map from their class scores.
#ifndef MINDSEG_WINDOWS_H_
#define MINDSEG_WINDOWS_H_

#include <cstddef>
#include <opencv2/core.hpp>
#include <vector>

#include "preprocess_spec.h"

namespace mindseg {

// First pixels of the windows along an axis: every `stride` pixels, the last one moved inwards to the border.
std::vector<int> window_starts(int length, int window, int stride);

// What the windows show of an image, row by row; smaller than a window only where the image is.
std::vector<cv::Rect> windows(Size image, Size window, Size stride);

// Adds up the scores of an image's windows. Rows that no later window changes become labels at once, and their memory
// is used again: the sums are one window high, whatever the image's height.
class WindowSums {
 public:
  WindowSums(Size image, Size window, int stride, int classes);

  // `scores` are `classes` planes of the next window, in the order of `windows`.
  void add(const float* scores);
  bool complete() const { return next_ == windows_.size(); }
  const cv::Mat& labels() const { return labels_; }

 private:
  void finish_rows(int end);
  float* row(int k, int y);  // of class k in the sums; y counts from the sums' first row

  Size image_;
  Size window_;
  int classes_;
  std::vector<cv::Rect> windows_;
  size_t next_ = 0;
  int first_ = 0;             // row of the image that is the sums' first
  int height_;                // of the sums
  std::vector<float> sums_;   // (classes, height, width of the image)
  cv::Mat labels_;
};

}  // namespace mindseg
#endif  // MINDSEG_WINDOWS_H_
