// One list of instances from those of an image's overlapping tiles: the rule of src/maskrcnn/merge.py, which says it in
// words, and src/maskrcnn/tiles.py. Both must decide alike.
#ifndef MINDSEG_MERGE_H_
#define MINDSEG_MERGE_H_

#include <opencv2/core.hpp>
#include <vector>

#include "mask.h"
#include "mask_runs.h"

namespace mindseg {

// In the image's frame.
struct Instance {
  Box box;
  int label;
  float score;
  Edges mask;
};

struct TileInstances {
  cv::Rect tile;
  std::vector<Instance> instances;
};

// The instances of an image, best score first, at most `limit` (0: all). `found` are those of its tiles, in the order of
// `windows`.
std::vector<Instance> merge(const std::vector<TileInstances>& found, Size image, int limit);

}  // namespace mindseg
#endif  // MINDSEG_MERGE_H_
