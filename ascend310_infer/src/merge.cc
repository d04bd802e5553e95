#include "merge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

namespace mindseg {
namespace {

constexpr double kNear = 2.0;  // pixels: a box that ends so near to a border may go on behind it
constexpr double kAgree = 0.5;
constexpr double kSame = 0.5;
constexpr double kInside = 0.7;

using Found = std::vector<TileInstances>;
using Member = std::pair<size_t, size_t>;  // numbers of a tile and of an instance in it

struct Object {
  std::vector<Member> members;
  std::set<size_t> tiles;
  bool is_cut = false;
  Instance instance{};
};

struct Agreement {
  double overlap;
  Member one, other;
};

const Instance& at(const Found& found, const Member& member) {
  return found[member.first].instances[member.second];
}

bool overlap(const Box& a, const Box& b) {
  return std::max(a.x1, b.x1) < std::min(a.x2, b.x2) && std::max(a.y1, b.y1) < std::min(a.y2, b.y2);
}

// Whether a box ends at a side of the tile inside the image.
bool cuts(const cv::Rect& tile, const Box& box, Size image) {
  const auto near = [](float edge, int side) { return std::abs(static_cast<double>(edge) - side) <= kNear; };
  const int right = tile.x + tile.width, bottom = tile.y + tile.height;
  return (tile.x > 0 && near(box.x1, tile.x)) || (tile.y > 0 && near(box.y1, tile.y)) ||
         (right < image.width && near(box.x2, right)) || (bottom < image.height && near(box.y2, bottom));
}

bool is_cut(const Found& found, const Member& member, Size image) {
  return cuts(found[member.first].tile, at(found, member).box, image);
}

// Intersection over union of what lies in `region`.
double agreement(const Edges& a, const Edges& b, const Edges& region) {
  const Edges in_a = intersection(a, region), in_b = intersection(b, region);
  const int64_t common = area(intersection(in_a, in_b));
  return static_cast<double>(common) / static_cast<double>(std::max<int64_t>(area(in_a) + area(in_b) - common, 1));
}

std::vector<Agreement> agreements(const Found& found, int height) {
  std::vector<Agreement> result;
  for (size_t t = 0; t < found.size(); ++t) {
    for (size_t u = t + 1; u < found.size(); ++u) {
      const cv::Rect shared = found[t].tile & found[u].tile;
      if (shared.empty()) continue;
      const Edges region = edges_of(shared, height);
      for (size_t i = 0; i < found[t].instances.size(); ++i) {
        for (size_t k = 0; k < found[u].instances.size(); ++k) {
          const Instance &one = found[t].instances[i], &other = found[u].instances[k];
          if (one.label != other.label || !overlap(one.box, other.box)) continue;
          const double value = agreement(one.mask, other.mask, region);
          if (value >= kAgree) result.push_back({value, {t, i}, {u, k}});
        }
      }
    }
  }
  std::sort(result.begin(), result.end(), [](const Agreement& a, const Agreement& b) {
    return std::tie(b.overlap, a.one, a.other) < std::tie(a.overlap, b.one, b.other);
  });
  return result;
}

// Step 1: the instances of each object.
std::vector<Object> objects_of(const Found& found, int height) {
  std::vector<Object> objects;
  std::map<Member, size_t> owner;
  for (size_t t = 0; t < found.size(); ++t) {
    for (size_t k = 0; k < found[t].instances.size(); ++k) {
      owner[{t, k}] = objects.size();
      objects.push_back({{{t, k}}, {t}});
    }
  }
  for (const auto& [value, a, b] : agreements(found, height)) {
    const size_t to = owner[a], from = owner[b];
    Object &one = objects[to], &other = objects[from];
    const auto is_new = [&](size_t tile) { return one.tiles.count(tile) == 0; };
    if (to == from || !std::all_of(other.tiles.begin(), other.tiles.end(), is_new)) continue;
    for (const Member& member : other.members) owner[member] = to;
    one.members.insert(one.members.end(), other.members.begin(), other.members.end());
    one.tiles.insert(other.tiles.begin(), other.tiles.end());
    other.members.clear();
  }
  std::vector<Object> result;
  for (Object& one : objects) {
    std::sort(one.members.begin(), one.members.end());
    if (!one.members.empty()) result.push_back(std::move(one));
  }
  return result;
}

// Step 2.
void put_together(Object& object, const Found& found, Size image) {
  std::vector<Member> members = object.members;
  std::sort(members.begin(), members.end(), [&](const Member& a, const Member& b) {
    return std::make_tuple(is_cut(found, a, image), -at(found, a).score, a) <
           std::make_tuple(is_cut(found, b, image), -at(found, b).score, b);
  });
  object.is_cut = is_cut(found, members[0], image);
  Instance& whole = object.instance = at(found, members[0]);
  Edges looked_at = edges_of(found[members[0].first].tile, image.height);
  for (size_t i = 1; i < members.size(); ++i) {
    const Instance& part = at(found, members[i]);
    whole.score = std::max(whole.score, part.score);
    const Edges added = difference(part.mask, looked_at);
    if (!added.empty()) {
      whole.mask = union_of(whole.mask, added);
      whole.box = {std::min(whole.box.x1, part.box.x1), std::min(whole.box.y1, part.box.y1),
                   std::max(whole.box.x2, part.box.x2), std::max(whole.box.y2, part.box.y2)};
    }
    looked_at = union_of(looked_at, edges_of(found[members[i].first].tile, image.height));
  }
}

// The tile whose centre is nearest to that of a box, the first among equals; -1 where the box leaves it.
int owner_of(const Found& found, const Box& box) {
  const double x = (static_cast<double>(box.x1) + box.x2) / 2, y = (static_cast<double>(box.y1) + box.y2) / 2;
  int nearest = 0;
  double least = INFINITY;
  for (size_t t = 0; t < found.size(); ++t) {
    const cv::Rect& tile = found[t].tile;
    const double distance = std::abs(tile.x + tile.width / 2.0 - x) + std::abs(tile.y + tile.height / 2.0 - y);
    if (distance < least) {
      least = distance;
      nearest = static_cast<int>(t);
    }
  }
  const cv::Rect& tile = found[nearest].tile;
  const bool inside = static_cast<double>(box.x1) >= tile.x && static_cast<double>(box.y1) >= tile.y &&
                      static_cast<double>(box.x2) <= tile.x + tile.width &&
                      static_cast<double>(box.y2) <= tile.y + tile.height;
  return inside ? nearest : -1;
}

// Step 3: whether an object counts. Where one tile decides, its instance stands for the object.
bool decided(Object& object, const Found& found) {
  const int tile = owner_of(found, object.instance.box);
  if (tile < 0) return true;
  for (const Member& member : object.members) {
    if (member.first != static_cast<size_t>(tile)) continue;
    object.instance = at(found, member);
    return true;
  }
  return false;
}

// Step 4: whether `one` is a part or a copy of an object that comes before it.
bool is_remainder(const Object& one, const Object& other) {
  if (one.instance.label != other.instance.label || !overlap(one.instance.box, other.instance.box)) return false;
  for (const size_t tile : one.tiles) {
    if (other.tiles.count(tile) != 0) return false;
  }
  const int64_t own = area(one.instance.mask), common = area(intersection(one.instance.mask, other.instance.mask));
  const int64_t together = own + area(other.instance.mask) - common;
  const auto reaches = [&](double share, int64_t pixels) {
    return static_cast<double>(common) >= share * static_cast<double>(std::max<int64_t>(pixels, 1));
  };
  return reaches(kSame, together) || (one.is_cut && reaches(kInside, own));
}

bool is_better(const Object& a, const Object& b) {
  return std::make_tuple(-a.instance.score, a.members[0]) < std::make_tuple(-b.instance.score, b.members[0]);
}

}  // namespace

std::vector<Instance> merge(const std::vector<TileInstances>& found, Size image, int limit) {
  std::vector<Object> candidates;
  for (Object& object : objects_of(found, image.height)) {
    put_together(object, found, image);
    if (decided(object, found)) candidates.push_back(std::move(object));
  }
  std::sort(candidates.begin(), candidates.end(), [](const Object& a, const Object& b) {
    return a.is_cut == b.is_cut ? is_better(a, b) : b.is_cut;
  });
  std::vector<Object> kept;
  for (Object& object : candidates) {
    const auto comes_from = [&](const Object& other) { return is_remainder(object, other); };
    if (std::none_of(kept.begin(), kept.end(), comes_from)) kept.push_back(std::move(object));
  }
  std::sort(kept.begin(), kept.end(), is_better);
  if (limit > 0 && kept.size() > static_cast<size_t>(limit)) kept.resize(limit);
  std::vector<Instance> result;
  for (Object& object : kept) result.push_back(std::move(object.instance));
  return result;
}

}  // namespace mindseg
