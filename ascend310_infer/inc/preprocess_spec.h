// preprocess.json: how an image becomes the network's input, and what its outputs mean.
#ifndef MINDSEG_PREPROCESS_SPEC_H_
#define MINDSEG_PREPROCESS_SPEC_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backend.h"

namespace mindseg {

enum class Task { kSemantic, kInstance };

// kLongSide: the long side becomes `resize_size`, the short one is rounded down. kFit: long and short side reach those
// of `resize_size`, then the whole is scaled down until it fits. kStretch: exactly `resize_size`.
// kSlide: the image keeps its size and is seen through windows of `resize_size`.
// What is not image: 0 after normalisation, black before it, or, where the model normalises, the byte nearest to the
// mean, which its normalisation takes to 0.
enum class Padding { kZero, kBlack, kMean };
enum class ResizeRule { kLongSide, kFit, kStretch, kSlide };

struct Size {
  int height = 0;
  int width = 0;
  bool operator==(const Size& other) const { return height == other.height && width == other.width; }
  bool operator!=(const Size& other) const { return !(*this == other); }
};

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  mindseg_dtype dtype = MINDSEG_FLOAT32;

  int64_t elements() const;
  size_t bytes() const;
};

size_t bytes_of(mindseg_dtype dtype);
std::string to_string(mindseg_dtype dtype);
std::string to_string(const std::vector<int64_t>& shape);

struct PreprocessSpec {
  Task task = Task::kSemantic;
  std::string model;
  std::string checkpoint_sha256;
  std::vector<std::string> class_names;
  std::vector<int64_t> category_ids;  // instance: what the results call each class
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  int batch = 1;
  Size canvas;        // of the network's input
  bool nhwc = false;  // layout of the image input; NCHW otherwise
  bool bgr = false;
  bool turn = false;  // photos are shown upright, as their EXIF orientation says
  ResizeRule rule = ResizeRule::kLongSide;
  Size resize_size;
  int slide_stride = 0;         // kSlide: pixels from one window to the next
  Size tile_size;               // instance: of the tiles that `rule` resizes, in pixels of the image; 0: no tiles
  int tile_overlap = 0;         // of neighbouring tiles, in pixels of the image
  int merged_max_per_img = 0;   // tiles: instances of an image after merging, at most; 0: all
  bool round_half_up = false;  // scaled sides are rounded down otherwise
  Padding padding = Padding::kZero;
  bool normalise_in_model = false;
  std::array<double, 3> mean{};  // in the input's colour order, on the 0..255 scale
  std::array<double, 3> deviation{};
  double mask_threshold = 0.5;
  std::optional<int> paste_pad;
  std::map<int, double> score_thresholds;  // instance: by class index, the least score of a result

  // The output that preprocess.json gives this name; throws Failure without one.
  const TensorSpec& output(const std::string& name) const;
  bool has_output(const std::string& name) const;
  // Whether the network sees an image part by part, and where these lie.
  bool in_parts() const { return rule == ResizeRule::kSlide || tile_size.height > 0; }
  std::vector<cv::Rect> parts(Size image) const;
  // Whether a detection reaches the least score of its class.
  bool is_result(int label, float score) const;
  // Whether float16 is all that the model gives: boxes, labels and scores of float32 are not to be calculated in it.
  bool half_suffices() const;
};

// Reads and checks the file. Throws Failure that names the file and the key.
PreprocessSpec read_recipe(const std::filesystem::path& path);

}  // namespace mindseg
#endif  // MINDSEG_PREPROCESS_SPEC_H_
