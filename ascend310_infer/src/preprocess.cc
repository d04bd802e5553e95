#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

#include "failure.h"
#include "orientation.h"

namespace fs = std::filesystem;

namespace mindseg {
namespace {

// Whether a JPEG has its end marker. Older decoders fill what a cut file lacks with gray and only warn.
bool jpeg_is_whole(const std::vector<unsigned char>& bytes) {
  constexpr unsigned char kStartOfImage = 0xD8, kEndOfImage = 0xD9, kFill = 0xFF;
  for (size_t at = 2; at + 1 < bytes.size();) {
    const unsigned char marker = bytes[at + 1];
    if (bytes[at] != 0xFF || marker == kFill) {
      ++at;  // pixel data, or filling before a marker
    } else if (marker == kEndOfImage) {
      return true;
    } else if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= kStartOfImage)) {
      at += 2;  // an escaped 0xFF, or a marker without a segment
    } else if (at + 3 < bytes.size()) {
      at += 2 + (bytes[at + 2] << 8 | bytes[at + 3]);
    } else {
      return false;
    }
  }
  return false;
}

// Sound pictures of kinds that are not read.
void refuse_kind(const std::vector<unsigned char>& bytes) {
  const std::string start(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 12));
  if (start.rfind("GIF8", 0) == 0) throw ImageError("a GIF, which is not read here; convert it to PNG or JPEG");
  if (start.size() == 12 && start.compare(4, 4, "ftyp") == 0) {
    throw ImageError("of the kind '" + start.substr(8) +
                     "' (HEIC, AVIF or a video), which is not read here; convert it to PNG or JPEG");
  }
}

int scaled(int side, double factor, bool round_half_up) {
  return std::max(static_cast<int>(side * factor + (round_half_up ? 0.5 : 0.0)), 1);
}

// Long and short side reach those of the canvas; what still overhangs, a portrait image on a landscape canvas, shrinks
// until it fits. Two steps, each with its rounding, as published; the image itself is resampled once.
Size fit(const PreprocessSpec& spec, Size size) {
  const Size limit = spec.resize_size;
  const double factor =
      std::min(static_cast<double>(std::min(limit.height, limit.width)) / std::min(size.height, size.width),
               static_cast<double>(std::max(limit.height, limit.width)) / std::max(size.height, size.width));
  Size out{scaled(size.height, factor, spec.round_half_up), scaled(size.width, factor, spec.round_half_up)};
  if (out.height > limit.height || out.width > limit.width) {
    const double again =
        std::min(static_cast<double>(limit.height) / out.height, static_cast<double>(limit.width) / out.width);
    out = {scaled(out.height, again, spec.round_half_up), scaled(out.width, again, spec.round_half_up)};
  }
  return out;
}

Size fit_long_side(Size size, int side) {
  const auto shortened = [side](int shorter, int longer) {
    return std::max(static_cast<int>(static_cast<double>(int64_t{side} * shorter) / longer), 1);
  };
  if (size.height >= size.width) return {side, shortened(size.width, size.height)};
  return {shortened(size.height, size.width), side};
}

}  // namespace

std::vector<unsigned char> read_image(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) throw ImageError(fs::status_known(status) ? "no such file" : error.message());
  if (fs::is_directory(status)) throw ImageError("a folder, not an image");
  if (!fs::is_regular_file(status)) throw ImageError("not a regular file");
  std::ifstream file(path, std::ios::binary);
  const auto size = fs::file_size(path, error);
  if (!file || error) throw ImageError("cannot be read; grant read access");
  std::vector<unsigned char> bytes(size);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    throw ImageError("cannot be read to its end");
  }
  if (bytes.empty()) throw ImageError("is empty (0 bytes)");
  return bytes;
}

cv::Mat decode_image(const std::vector<unsigned char>& bytes, bool turn) {
  cv::Mat image;
  const bool is_jpeg = bytes.size() > 2 && bytes[0] == 0xFF && bytes[1] == 0xD8;
  const bool is_png = bytes.size() > 4 && bytes[0] == 0x89 && bytes[1] == 'P' && bytes[2] == 'N' && bytes[3] == 'G';
  const int flags = turn && (is_jpeg || is_png) ? 0 : cv::IMREAD_IGNORE_ORIENTATION;
  try {
    image = cv::imdecode(bytes, cv::IMREAD_COLOR | flags);
  } catch (const cv::Exception& error) {
    throw ImageError("cannot be decoded (" + error.err + "); restore it or scale it down");
  } catch (const std::bad_alloc&) {
    throw ImageError("is too large for the memory of this machine; scale it down");
  }
  if (image.empty()) refuse_kind(bytes);
  if (image.empty() || (is_jpeg && !jpeg_is_whole(bytes))) {
    throw ImageError("is not an image, or damaged or truncated; restore it or leave it out");
  }
  return turn ? upright(image, webp_orientation(bytes)) : image;
}

Size fitted(const PreprocessSpec& spec, Size size) {
  switch (spec.rule) {
    case ResizeRule::kLongSide:
      return fit_long_side(size, spec.resize_size.height);
    case ResizeRule::kFit:
      return fit(spec, size);
    case ResizeRule::kStretch:
      return spec.resize_size;
    case ResizeRule::kSlide:
      break;
  }
  return size;
}

Preprocessor::Preprocessor(const PreprocessSpec& spec) : spec_(spec), float_tables_(3), byte_tables_(3) {
  for (size_t channel = 0; channel < 3; ++channel) {
    for (size_t value = 0; value < 256; ++value) {
      const double normal = (static_cast<double>(value) - spec.mean[channel]) / spec.deviation[channel];
      float_tables_[channel][value] =
          static_cast<float>(spec.normalise_in_model ? static_cast<double>(value) : normal);
      byte_tables_[channel][value] = static_cast<unsigned char>(value);
    }
  }
}

Size Preprocessor::operator()(const cv::Mat& bgr, std::byte* input) const {
  const Size size = fitted(spec_, {bgr.rows, bgr.cols});
  cv::Mat resized = bgr;
  if (size != Size{bgr.rows, bgr.cols}) {
    cv::resize(bgr, resized, {size.width, size.height}, 0, 0, cv::INTER_LINEAR);
  }
  if (spec_.inputs[0].dtype == MINDSEG_UINT8) {
    fill(resized, reinterpret_cast<unsigned char*>(input), byte_tables_);
  } else {
    fill(resized, reinterpret_cast<float*>(input), float_tables_);
  }
  return size;
}

template <typename Value>
void Preprocessor::fill(const cv::Mat& bgr, Value* input, const std::vector<std::array<Value, 256>>& tables) const {
  const size_t height = spec_.canvas.height, width = spec_.canvas.width;
  const size_t pixel = spec_.nhwc ? 3 : 1, row = width * pixel, plane = spec_.nhwc ? 1 : height * width;
  for (size_t channel = 0; channel < 3; ++channel) {
    const size_t source = spec_.bgr ? channel : 2 - channel;
    const auto& table = tables[channel];
    const auto mean = static_cast<size_t>(std::clamp(std::round(spec_.mean[channel]), 0.0, 255.0));
    const Value padding = spec_.padding == Padding::kZero ? Value{0}
                          : spec_.padding == Padding::kBlack ? table[0]
                                                               : table[mean];
    for (size_t y = 0; y < height; ++y) {
      Value* out = input + channel * plane + y * row;
      size_t x = 0;
      if (y < static_cast<size_t>(bgr.rows)) {
        const unsigned char* pixels = bgr.ptr<unsigned char>(static_cast<int>(y)) + source;
        for (; x < static_cast<size_t>(bgr.cols); ++x) out[x * pixel] = table[pixels[3 * x]];
      }
      for (; x < width; ++x) out[x * pixel] = padding;
    }
  }
}

}  // namespace mindseg
