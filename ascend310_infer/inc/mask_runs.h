// Masks as the edges of their runs: sets of pixels that are compared and joined without pixels, as in
// src/maskrcnn/mask_runs.py.
#ifndef MINDSEG_MASK_RUNS_H_
#define MINDSEG_MASK_RUNS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "mask.h"

namespace mindseg {

// The pixels of an image of height H are numbered down its columns, x * H + y. A mask is start, end, start, end ...,
// half-open and increasing.
using Edges = std::vector<int64_t>;

// Edges of a mask that is empty outside the region, in an image of `height` pixels.
Edges edges_of(const Region& region, int height);

// Edges of all pixels of a rectangle.
Edges edges_of(const cv::Rect& rectangle, int height);

Edges intersection(const Edges& a, const Edges& b);
Edges union_of(const Edges& a, const Edges& b);
Edges difference(const Edges& a, const Edges& b);  // what is in a and not in b

int64_t area(const Edges& edges);

// Lengths of the runs of 0 and 1 in an image, 0 first.
std::vector<int64_t> runs(const Edges& edges, Size image);

// COCO's compressed text of runs: differences to the run before last, five bits a character.
std::string compressed(const std::vector<int64_t>& runs);

}  // namespace mindseg
#endif  // MINDSEG_MASK_RUNS_H_
