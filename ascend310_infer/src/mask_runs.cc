#include "mask_runs.h"

#include <algorithm>

namespace mindseg {
namespace {

// Adds a run; one that continues the last one, from a column's foot to the next one's head, lengthens it.
void append(Edges& edges, int64_t start, int64_t end) {
  if (!edges.empty() && edges.back() == start) {
    edges.back() = end;
  } else {
    edges.push_back(start);
    edges.push_back(end);
  }
}

// Edges of the pixels of which `rule` (whether in a, whether in b) is true.
template <typename Rule>
Edges combined(const Edges& a, const Edges& b, Rule rule) {
  Edges result;
  bool inside = false;
  for (size_t i = 0, k = 0; i < a.size() || k < b.size();) {
    const int64_t edge = k == b.size() || (i < a.size() && a[i] < b[k]) ? a[i] : b[k];
    if (i < a.size() && a[i] == edge) ++i;
    if (k < b.size() && b[k] == edge) ++k;
    if (rule(i % 2 == 1, k % 2 == 1) != inside) {
      inside = !inside;
      result.push_back(edge);
    }
  }
  return result;
}

}  // namespace

Edges edges_of(const Region& region, int height) {
  Edges edges;
  cv::Mat columns;  // transposed, so that a column is contiguous
  if (!region.pixels.empty()) cv::transpose(region.pixels, columns);
  for (int x = 0; x < columns.rows; ++x) {
    const auto* pixels = columns.ptr<unsigned char>(x);
    const auto* end = pixels + columns.cols;
    const int64_t first = int64_t{region.left + x} * height + region.top;
    for (const auto* at = std::find_if(pixels, end, [](auto v) { return v != 0; }); at != end;) {
      const auto* stop = std::find(at, end, 0);
      append(edges, first + (at - pixels), first + (stop - pixels));
      at = std::find_if(stop, end, [](auto v) { return v != 0; });
    }
  }
  return edges;
}

Edges edges_of(const cv::Rect& rectangle, int height) {
  Edges edges;
  if (rectangle.empty()) return edges;
  for (int x = rectangle.x; x < rectangle.x + rectangle.width; ++x) {
    const int64_t start = int64_t{x} * height + rectangle.y;
    append(edges, start, start + rectangle.height);
  }
  return edges;
}

Edges intersection(const Edges& a, const Edges& b) {
  return combined(a, b, [](bool in_a, bool in_b) { return in_a && in_b; });
}

Edges union_of(const Edges& a, const Edges& b) {
  return combined(a, b, [](bool in_a, bool in_b) { return in_a || in_b; });
}

Edges difference(const Edges& a, const Edges& b) {
  return combined(a, b, [](bool in_a, bool in_b) { return in_a && !in_b; });
}

int64_t area(const Edges& edges) {
  int64_t pixels = 0;
  for (size_t i = 0; i < edges.size(); i += 2) pixels += edges[i + 1] - edges[i];
  return pixels;
}

std::vector<int64_t> runs(const Edges& edges, Size image) {
  std::vector<int64_t> lengths;
  int64_t before = 0;
  for (const int64_t edge : edges) {
    lengths.push_back(edge - before);
    before = edge;
  }
  const int64_t end = int64_t{image.height} * image.width;
  if (end > before || lengths.empty()) lengths.push_back(end - before);
  return lengths;
}

std::string compressed(const std::vector<int64_t>& runs) {
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i) {
    int64_t rest = runs[i] - (i > 2 ? runs[i - 2] : 0);
    bool more = true;
    while (more) {
      int64_t bits = rest & 0x1f;
      rest >>= 5;
      more = (bits & 0x10) ? rest != -1 : rest != 0;
      text += static_cast<char>((more ? bits | 0x20 : bits) + 48);
    }
  }
  return text;
}

}  // namespace mindseg
