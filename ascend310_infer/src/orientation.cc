#include "orientation.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace mindseg {
namespace {

constexpr int kUpright = 1;
constexpr uint32_t kOrientation = 0x0112;

std::string text(const std::vector<unsigned char>& bytes, size_t at, size_t length) {
  if (at + length > bytes.size()) return {};
  return {bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at + length)};
}

// A number of `count` bytes; 0 beyond the end.
uint32_t number(const std::vector<unsigned char>& bytes, size_t at, size_t count, bool little) {
  uint32_t value = 0;
  if (at + count > bytes.size()) return 0;
  for (size_t k = 0; k < count; ++k) value = value << 8 | bytes[at + (little ? count - 1 - k : k)];
  return value;
}

// Of an EXIF block, which is a TIFF header with its first directory.
int exif_orientation(const std::vector<unsigned char>& exif) {
  const size_t start = text(exif, 0, 4) == "Exif" ? 6 : 0;
  const std::string order = text(exif, start, 2);
  if (order != "II" && order != "MM") return kUpright;
  const bool little = order == "II";
  const size_t directory = start + number(exif, start + 4, 4, little);
  const size_t entries = number(exif, directory, 2, little);
  for (size_t k = 0; k < entries; ++k) {
    const size_t entry = directory + 2 + 12 * k;
    if (entry + 12 > exif.size()) return kUpright;
    if (number(exif, entry, 2, little) != kOrientation) continue;
    const uint32_t value = number(exif, entry + 8, 2, little);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

}  // namespace

int webp_orientation(const std::vector<unsigned char>& bytes) {
  if (text(bytes, 0, 4) != "RIFF" || text(bytes, 8, 4) != "WEBP") return kUpright;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const size_t length = number(bytes, at + 4, 4, true);
    if (text(bytes, at, 4) == "EXIF") {
      const size_t end = std::min(at + 8 + length, bytes.size());
      return exif_orientation({bytes.begin() + static_cast<std::ptrdiff_t>(at + 8),
                               bytes.begin() + static_cast<std::ptrdiff_t>(end)});
    }
    at += 8 + length + length % 2;
  }
  return kUpright;
}

cv::Mat upright(const cv::Mat& image, int orientation) {
  constexpr int kVertical = 0, kHorizontal = 1, kBoth = -1;
  cv::Mat turned = image;
  if (orientation > 4) cv::transpose(image, turned);  // 5; the others are mirrored too
  cv::Mat shown = turned;
  if (orientation == 2 || orientation == 6) cv::flip(turned, shown, kHorizontal);
  if (orientation == 3 || orientation == 7) cv::flip(turned, shown, kBoth);
  if (orientation == 4 || orientation == 8) cv::flip(turned, shown, kVertical);
  return shown;
}

}  // namespace mindseg
