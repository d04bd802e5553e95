#include "label_map.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <vector>

namespace mindseg {
namespace {

// Where one output coordinate reads: between `first` and `second`, by `weight` (of the second).
struct Tap {
  int first;
  int second;
  float weight;
};

std::vector<Tap> taps(int from, int to) {
  std::vector<Tap> result(to);
  const double scale = static_cast<double>(from) / to;
  for (int i = 0; i < to; ++i) {
    const float position = static_cast<float>((i + 0.5) * scale - 0.5);
    const int first = static_cast<int>(std::floor(position));
    if (first < 0) {
      result[i] = {0, 0, 0.0F};
    } else if (first >= from - 1) {
      result[i] = {from - 1, from - 1, 0.0F};
    } else {
      result[i] = {first, first + 1, position - static_cast<float>(first)};
    }
  }
  return result;
}

// Rows of all classes, resized to the output's width: only the two rows that an output row lies between are needed.
class WideRows {
 public:
  WideRows(const float* scores, int classes, Size canvas, const std::vector<Tap>& columns)
      : scores_(scores), classes_(classes), canvas_(canvas), columns_(columns) {
    for (auto& slot : slots_) slot.values.resize(static_cast<size_t>(classes) * columns.size());
  }

  // Row `row` as (classes, width). Valid until two other rows were asked for.
  const float* operator()(int row) {
    Slot& slot = slots_[row % 2];  // neighbours never share a slot
    if (slot.row != row) fill(slot, row);
    return slot.values.data();
  }

 private:
  struct Slot {
    int row = -1;
    std::vector<float> values;
  };

  void fill(Slot& slot, int row) const {
    slot.row = row;
    float* out = slot.values.data();
    for (int k = 0; k < classes_; ++k) {
      const float* in = scores_ + (static_cast<size_t>(k) * canvas_.height + row) * canvas_.width;
      for (const Tap& tap : columns_) *out++ = in[tap.first] * (1.0F - tap.weight) + in[tap.second] * tap.weight;
    }
  }

  const float* scores_;
  int classes_;
  Size canvas_;
  const std::vector<Tap>& columns_;
  Slot slots_[2];
};

// One output row: classes are compared column by column, in a loop over memory that the compiler turns into vectors.
void best_classes(const float* above, const float* below, float weight, int classes, int width, float* best,
                  int* labels) {
  const float rest = 1.0F - weight;
  for (int x = 0; x < width; ++x) {
    best[x] = above[x] * rest + below[x] * weight;
    labels[x] = 0;
  }
  for (int k = 1; k < classes; ++k) {
    above += width;
    below += width;
    for (int x = 0; x < width; ++x) {
      const float score = above[x] * rest + below[x] * weight;
      labels[x] = score > best[x] ? k : labels[x];
      best[x] = score > best[x] ? score : best[x];
    }
  }
}

}  // namespace

cv::Mat label_map(const float* scores, int classes, Size canvas, Size valid, Size original) {
  const auto columns = taps(valid.width, original.width);
  const auto rows = taps(valid.height, original.height);
  WideRows wide(scores, classes, canvas, columns);
  std::vector<float> best(original.width);
  std::vector<int> labels(original.width);
  cv::Mat result(original.height, original.width, CV_8UC1);
  for (int y = 0; y < original.height; ++y) {
    const float* above = wide(rows[y].first);
    const float* below = wide(rows[y].second);
    best_classes(above, below, rows[y].weight, classes, original.width, best.data(), labels.data());
    std::copy(labels.begin(), labels.end(), result.ptr<unsigned char>(y));
  }
  return result;
}

cv::Mat label_map(const cv::Mat& labels, Size valid, Size original) {
  cv::Mat result;
  cv::resize(labels(cv::Rect(0, 0, valid.width, valid.height)), result, {original.width, original.height}, 0, 0,
             cv::INTER_NEAREST);
  return result;
}

}  // namespace mindseg
