#include "windows.h"

#include <algorithm>

namespace mindseg {

std::vector<int> window_starts(int length, int window, int stride) {
  const int last = std::max(length - window, 0);
  std::vector<int> starts;
  for (int start = 0; start < last; start += stride) starts.push_back(start);
  starts.push_back(last);
  return starts;
}

std::vector<cv::Rect> windows(Size image, Size window, Size stride) {
  std::vector<cv::Rect> result;
  const int height = std::min(window.height, image.height), width = std::min(window.width, image.width);
  for (const int top : window_starts(image.height, window.height, stride.height)) {
    for (const int left : window_starts(image.width, window.width, stride.width)) {
      result.emplace_back(left, top, width, height);
    }
  }
  return result;
}

WindowSums::WindowSums(Size image, Size window, int stride, int classes)
    : image_(image),
      window_(window),
      classes_(classes),
      windows_(windows(image, window, {stride, stride})),
      height_(std::min(window.height, image.height)) {}

float* WindowSums::row(int k, int y) {
  return sums_.data() + (static_cast<size_t>(k) * height_ + y) * static_cast<size_t>(image_.width);
}

void WindowSums::add(const float* scores) {
  if (sums_.empty()) {  // here, so that an image that waits for its turn takes no memory
    sums_.resize(static_cast<size_t>(classes_) * height_ * image_.width);
    labels_.create(image_.height, image_.width, CV_8UC1);
  }
  const cv::Rect& window = windows_[next_];
  for (int k = 0; k < classes_; ++k) {
    for (int y = 0; y < window.height; ++y) {
      const float* in = scores + (static_cast<size_t>(k) * window_.height + y) * window_.width;
      float* out = row(k, window.y - first_ + y) + window.x;
      for (int x = 0; x < window.width; ++x) out[x] += in[x];
    }
  }
  ++next_;
  const int end = complete() ? image_.height : windows_[next_].y;
  if (end > window.y) finish_rows(end);
  if (complete()) sums_ = {};
}

// The average's divisor is the same for all classes of a pixel: the best sum is the best average.
void WindowSums::finish_rows(int end) {
  const int rows = end - first_;
  const size_t width = image_.width;
  std::vector<float> best(width);
  for (int y = 0; y < rows; ++y) {
    unsigned char* labels = labels_.ptr<unsigned char>(first_ + y);
    std::copy_n(row(0, y), width, best.data());
    std::fill_n(labels, width, static_cast<unsigned char>(0));
    for (int k = 1; k < classes_; ++k) {
      const float* scores = row(k, y);
      for (size_t x = 0; x < width; ++x) {
        labels[x] = scores[x] > best[x] ? static_cast<unsigned char>(k) : labels[x];
        best[x] = std::max(scores[x], best[x]);
      }
    }
  }
  for (int k = 0; k < classes_; ++k) {
    std::copy(row(k, rows), row(k, 0) + static_cast<size_t>(height_) * width, row(k, 0));
    std::fill(row(k, height_ - rows), row(k, 0) + static_cast<size_t>(height_) * width, 0.0F);
  }
  first_ = end;
}

}  // namespace mindseg
