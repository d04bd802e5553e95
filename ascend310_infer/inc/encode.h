// From the network's outputs to the content of one image's result file.
#ifndef MINDSEG_ENCODE_H_
#define MINDSEG_ENCODE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "merge.h"
#include "model.h"
#include "preprocess_spec.h"
#include "windows.h"

namespace mindseg {

// One image on its way through the network.
struct Placement {
  std::string name;
  std::optional<int64_t> id;  // COCO's
  Size original;
  Size valid;    // of the image in the network's input
  int slot = 0;  // in the batch
};

// A label map as PNG bytes, or detections as JSON. `specs` describe `outputs`. Throws ImageError where the network
// returned something that is no result.
std::string encode_result(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs,
                          const std::vector<Buffer>& outputs, const Placement& placement);

// Adds one window's scores to its image's. Throws ImageError where they are not finite.
void add_window(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs, const std::vector<Buffer>& outputs,
                int slot, WindowSums& sums);

// What the network found in one tile of an image, in the image's frame; the placement's `valid` is of the tile.
// Throws ImageError where it is no result.
TileInstances tile_instances(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs,
                             const std::vector<Buffer>& outputs, const Placement& placement, const cv::Rect& tile);

// Detections as JSON, without those below the least score of their class.
std::string encode_instances(const PreprocessSpec& spec, const std::vector<Instance>& instances,
                             const Placement& placement);

// A label map as PNG bytes.
std::string encode_png(const cv::Mat& labels);

}  // namespace mindseg
#endif  // MINDSEG_ENCODE_H_
