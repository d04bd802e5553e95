#include "encode.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>

#include "failure.h"
#include "json_node.h"
#include "label_map.h"
#include "mask.h"

namespace mindseg {
namespace {

using nlohmann::json;

// One image's part of an output as float32: the network's memory where it is that already, else a converted copy.
class Floats {
 public:
  Floats(const TensorSpec& spec, const Buffer& buffer, int slot) {
    const size_t count = static_cast<size_t>(spec.elements() / spec.shape[0]);
    const std::byte* start = buffer.data() + slot * count * bytes_of(spec.dtype);
    if (spec.dtype == MINDSEG_FLOAT32) {
      data_ = reinterpret_cast<const float*>(start);
      return;
    }
    converted_.resize(count);
    for (size_t i = 0; i < count; ++i) converted_[i] = converted(start, i, spec.dtype);
    data_ = converted_.data();
  }

  const float* data() const { return data_; }
  float operator[](size_t index) const { return data_[index]; }

 private:
  template <typename Value>
  static Value read(const std::byte* start, size_t index) {
    Value value;
    std::memcpy(&value, start + index * sizeof(Value), sizeof(Value));
    return value;
  }

  static float converted(const std::byte* start, size_t index, mindseg_dtype dtype) {
    switch (dtype) {
      case MINDSEG_FLOAT16: {
        return static_cast<float>(read<cv::float16_t>(start, index));
      }
      case MINDSEG_INT32:
        return static_cast<float>(read<int32_t>(start, index));
      case MINDSEG_INT64:
        return static_cast<float>(read<int64_t>(start, index));
      default:
        return static_cast<float>(read<uint8_t>(start, index));
    }
  }

  const float* data_ = nullptr;
  std::vector<float> converted_;
};

// The outputs by name.
class Outputs {
 public:
  Outputs(const std::vector<TensorSpec>& specs, const std::vector<Buffer>& buffers, int slot)
      : specs_(specs), buffers_(buffers), slot_(slot) {}

  Floats operator[](const std::string& name) const {
    for (size_t i = 0; i < specs_.size(); ++i) {
      if (specs_[i].name == name) return {specs_[i], buffers_[i], slot_};
    }
    throw Failure("no output '" + name + "'");  // read_recipe has looked
  }

 private:
  const std::vector<TensorSpec>& specs_;
  const std::vector<Buffer>& buffers_;
  int slot_;
};

void expect_finite(const float* values, size_t count) {
  bool finite = true;  // without a branch, so that the compiler turns the loop into vectors
  for (size_t i = 0; i < count; ++i) finite &= std::abs(values[i]) <= std::numeric_limits<float>::max();
  if (!finite) throw ImageError("the network returned scores that are not finite; " + kExportAgain);
}

// The class scores of one image or window.
Floats finite_scores(const PreprocessSpec& spec, const Outputs& outputs) {
  Floats scores = outputs["scores"];
  expect_finite(scores.data(), static_cast<size_t>(spec.output("scores").elements() / spec.batch));
  return scores;
}

std::string encode_labels(const PreprocessSpec& spec, const Outputs& outputs, const Placement& placement) {
  cv::Mat labels;
  if (spec.has_output("labels")) {
    const Floats values = outputs["labels"];
    const cv::Mat wide(spec.canvas.height, spec.canvas.width, CV_32FC1, const_cast<float*>(values.data()));
    cv::Mat narrow;
    wide.convertTo(narrow, CV_8U);
    labels = label_map(narrow, placement.valid, placement.original);
  } else {
    const Floats scores = finite_scores(spec, outputs);
    labels = label_map(scores.data(), static_cast<int>(spec.class_names.size()), spec.canvas, placement.valid,
                       placement.original);
  }
  return encode_png(labels);
}

// Throws ImageError for what is no detection.
void expect_detection(const PreprocessSpec& spec, int label, float score, const Box& box) {
  if (label < 0 || label >= static_cast<int>(spec.class_names.size())) {
    throw ImageError("the network returned class " + std::to_string(label) + ", preprocess.json has " +
                     std::to_string(spec.class_names.size()) + " classes");
  }
  for (const float value : {score, box.x1, box.y1, box.x2, box.y2}) {
    if (!std::isfinite(value)) throw ImageError("the network returned a box or score that is not finite");
  }
}

json detection(const PreprocessSpec& spec, const Instance& instance, const Placement& placement) {
  const double x1 = instance.box.x1, y1 = instance.box.y1;  // so that x1 + width is x2 again
  const double x2 = instance.box.x2, y2 = instance.box.y2;
  const Size image = placement.original;
  json row = {{"label", instance.label},
              {"name", spec.class_names[instance.label]},
              {"category_id", spec.category_ids[instance.label]},
              {"score", instance.score},
              {"bbox", {x1, y1, x2 - x1, y2 - y1}},
              {"segmentation",
               {{"size", {image.height, image.width}}, {"counts", compressed(runs(instance.mask, image))}}}};
  row["image_id"] = placement.id ? json(*placement.id) : json(placement.name);  // a text is no COCO id by mistake
  return row;
}

}  // namespace

void add_window(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs, const std::vector<Buffer>& outputs,
                int slot, WindowSums& sums) {
  sums.add(finite_scores(spec, Outputs(specs, outputs, slot)).data());
}

TileInstances tile_instances(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs,
                             const std::vector<Buffer>& buffers, const Placement& placement, const cv::Rect& tile) {
  const Outputs outputs(specs, buffers, placement.slot);
  const Floats boxes = outputs["boxes"], labels = outputs["labels"], scores = outputs["scores"];
  const Floats valid = outputs["valid"], masks = outputs["masks"];
  const int64_t slots = spec.output("boxes").shape[1];
  const int side = static_cast<int>(spec.output("masks").shape[2]);
  const Size size{tile.height, tile.width};
  const auto left = static_cast<float>(tile.x), top = static_cast<float>(tile.y);
  TileInstances found{tile, {}};
  for (int64_t i = 0; i < slots; ++i) {
    if (valid[i] == 0) continue;
    const float* corners = boxes.data() + 4 * i;
    const Box box = scaled({corners[0], corners[1], corners[2], corners[3]}, placement.valid, size);
    const int label = static_cast<int>(labels[i]);
    expect_detection(spec, label, scores[i], box);
    const cv::Mat mask(side, side, CV_32FC1, const_cast<float*>(masks.data()) + i * side * side);
    Region region = paste(mask, box, size, spec.paste_pad, spec.mask_threshold);
    region.top += tile.y;
    region.left += tile.x;
    found.instances.push_back({{box.x1 + left, box.y1 + top, box.x2 + left, box.y2 + top},
                               label,
                               scores[i],
                               edges_of(region, placement.original.height)});
  }
  return found;
}

std::string encode_instances(const PreprocessSpec& spec, const std::vector<Instance>& instances,
                             const Placement& placement) {
  json found = json::array();
  for (const Instance& instance : instances) {
    if (spec.is_result(instance.label, instance.score)) found.push_back(detection(spec, instance, placement));
  }
  const json content = {{"file_name", placement.name},
                        {"image_id", placement.id ? json(*placement.id) : json(nullptr)},
                        {"height", placement.original.height},
                        {"width", placement.original.width},
                        {"detections", std::move(found)}};
  return content.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string encode_png(const cv::Mat& labels) {
  std::vector<unsigned char> bytes;
  cv::imencode(".png", labels, bytes);
  return {bytes.begin(), bytes.end()};
}

std::string encode_result(const PreprocessSpec& spec, const std::vector<TensorSpec>& specs,
                          const std::vector<Buffer>& outputs, const Placement& placement) {
  if (spec.task == Task::kSemantic) return encode_labels(spec, Outputs(specs, outputs, placement.slot), placement);
  const cv::Rect everything(0, 0, placement.original.width, placement.original.height);
  return encode_instances(spec, tile_instances(spec, specs, outputs, placement, everything).instances, placement);
}

}  // namespace mindseg
