#include "mask.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace mindseg {
namespace {

// Two neighbouring cells of a mask at one pixel's centre.
struct Sample {
  int first;
  int second;
  float first_weight;
  float second_weight;
};

// Samples at the pixel centres inside low .. high, of a mask of `cells` that covers it, and the first pixel. Centres
// between the box's edge and the outermost cell's centre take that cell's value.
std::vector<Sample> samples(float low, float high, int limit, int cells, int* first_pixel) {
  const int first = std::max(static_cast<int>(std::ceil(low - 0.5F)), 0);
  const int last = std::min(static_cast<int>(std::ceil(high - 0.5F)), limit);
  const float cells_a_pixel = static_cast<float>(cells / std::max(static_cast<double>(high - low), 1e-6));
  std::vector<Sample> result;
  for (int pixel = first; pixel < last; ++pixel) {
    const float centre = static_cast<float>(pixel) + 0.5F;
    const float position = std::clamp((centre - low) * cells_a_pixel - 0.5F, 0.0F, static_cast<float>(cells - 1));
    const int cell = std::min(static_cast<int>(position), cells - 1);
    const int next = std::min(cell + 1, cells - 1);
    const float weight = position - static_cast<float>(cell);
    result.push_back(
        {cell, next, 1.0F - weight, next == cell ? 0.0F : 1.0F - std::abs(position - static_cast<float>(next))});
  }
  *first_pixel = first;
  return result;
}

Region paste_exactly(const cv::Mat& mask, const Box& box, Size image, float threshold) {
  Region region;
  const auto rows = samples(box.y1, box.y2, image.height, mask.rows, &region.top);
  const auto columns = samples(box.x1, box.x2, image.width, mask.cols, &region.left);
  region.pixels.create(static_cast<int>(rows.size()), static_cast<int>(columns.size()), CV_8UC1);
  std::vector<float> blended(mask.cols);
  for (size_t y = 0; y < rows.size(); ++y) {
    const auto *above = mask.ptr<float>(rows[y].first), *below = mask.ptr<float>(rows[y].second);
    for (int k = 0; k < mask.cols; ++k) {
      blended[k] = above[k] * rows[y].first_weight + below[k] * rows[y].second_weight;
    }
    auto* out = region.pixels.ptr<unsigned char>(static_cast<int>(y));
    for (size_t x = 0; x < columns.size(); ++x) {
      const Sample& s = columns[x];
      out[x] = blended[s.first] * s.first_weight + blended[s.second] * s.second_weight > threshold;
    }
  }
  return region;
}

// Whole pixels, both ends counted.
Region paste_rounded(const cv::Mat& mask, const Box& box, Size image, int pad, double threshold) {
  cv::Mat padded;
  cv::copyMakeBorder(mask, padded, pad, pad, pad, pad, cv::BORDER_CONSTANT, cv::Scalar(0));
  const float widened = static_cast<float>(static_cast<double>(padded.rows) / mask.rows);
  const float half_width = (box.x2 - box.x1) / 2 * widened, half_height = (box.y2 - box.y1) / 2 * widened;
  const float centre_x = (box.x1 + box.x2) / 2, centre_y = (box.y1 + box.y2) / 2;
  int x1 = static_cast<int>(centre_x - half_width), y1 = static_cast<int>(centre_y - half_height);
  int x2 = static_cast<int>(centre_x + half_width), y2 = static_cast<int>(centre_y + half_height);
  if (pad == 0) {  // a box that ends at the border is squeezed by the pixel that it counts too many
    x1 = std::min(x1, image.width - 1), x2 = std::min(x2, image.width - 1);
    y1 = std::min(y1, image.height - 1), y2 = std::min(y2, image.height - 1);
  }
  cv::Mat resized;
  cv::resize(padded, resized, {std::max(x2 - x1 + 1, 1), std::max(y2 - y1 + 1, 1)}, 0, 0, cv::INTER_LINEAR);
  Region region;
  region.top = std::max(y1, 0);
  region.left = std::max(x1, 0);
  const int bottom = std::min(y1 + resized.rows, image.height), right = std::min(x1 + resized.cols, image.width);
  if (bottom > region.top && right > region.left) {
    const cv::Rect inside(region.left - x1, region.top - y1, right - region.left, bottom - region.top);
    region.pixels = (resized(inside) > threshold) / 255;
  }
  return region;
}

}  // namespace

Box scaled(const Box& box, Size valid, Size original) {
  const float across = static_cast<float>(static_cast<double>(original.width) / valid.width);
  const float down = static_cast<float>(static_cast<double>(original.height) / valid.height);
  const auto width = static_cast<float>(original.width), height = static_cast<float>(original.height);
  return {std::clamp(box.x1 * across, 0.0F, width), std::clamp(box.y1 * down, 0.0F, height),
          std::clamp(box.x2 * across, 0.0F, width), std::clamp(box.y2 * down, 0.0F, height)};
}

Region paste(const cv::Mat& mask, const Box& box, Size image, const std::optional<int>& paste_pad, double threshold) {
  if (!paste_pad) return paste_exactly(mask, box, image, static_cast<float>(threshold));
  return paste_rounded(mask, box, image, *paste_pad, threshold);
}

}  // namespace mindseg
