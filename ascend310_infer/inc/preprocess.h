// From an image file to the network's input: the same pixels as in Python.
#ifndef MINDSEG_PREPROCESS_H_
#define MINDSEG_PREPROCESS_H_

#include <cstddef>
#include <filesystem>
#include <opencv2/core.hpp>
#include <vector>

#include "preprocess_spec.h"

namespace mindseg {

// The bytes of an image file. Throws ImageError.
std::vector<unsigned char> read_image(const std::filesystem::path& path);

// Decodes them to 8-bit BGR: gray becomes three equal channels, 16 bits keep the upper byte, alpha is dropped. `turn`
// shows JPEG and PNG files upright, as their EXIF orientation says. Throws ImageError for what is no image, or not
// whole.
cv::Mat decode_image(const std::vector<unsigned char>& bytes, bool turn);

// The size that an image of `size` is resized to.
Size fitted(const PreprocessSpec& spec, Size size);

// Fills one image's part of the network's input.
class Preprocessor {
 public:
  explicit Preprocessor(const PreprocessSpec& spec);

  // Resizes 8-bit BGR pixels, normalises them into the top left of `input` and pads the rest. `input` has the bytes of
  // one image. Returns the (height, width) of the image in it. Safe in several threads.
  Size operator()(const cv::Mat& bgr, std::byte* input) const;

 private:
  template <typename Value>
  void fill(const cv::Mat& bgr, Value* input, const std::vector<std::array<Value, 256>>& tables) const;

  const PreprocessSpec& spec_;
  // 256 possible values a channel: looking them up is exact and faster than arithmetic
  std::vector<std::array<float, 256>> float_tables_;
  std::vector<std::array<unsigned char, 256>> byte_tables_;
};

}  // namespace mindseg
#endif  // MINDSEG_PREPROCESS_H_
