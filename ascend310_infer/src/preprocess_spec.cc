#include "preprocess_spec.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>

#include "json_node.h"
#include "windows.h"

namespace mindseg {
namespace {

constexpr int64_t kMaxSide = 1 << 15;
constexpr int64_t kMaxElements = int64_t{1} << 31;
constexpr int64_t kMaxTile = int64_t{1} << 24;
constexpr double kMaxColour = 1e6;
constexpr int kMaxClasses = 255;  // label maps have 8 bits, and 255 is the ignore label

const std::vector<std::string> kDtypes = {"float32", "float16", "int32", "int64", "uint8", "bool"};

TensorSpec read_tensor(const JsonNode& node) {
  TensorSpec spec;
  spec.name = node.at("name").text();
  const auto sides = node.at("shape").items();
  if (sides.empty() || sides.size() > MINDSEG_MAX_RANK) node.at("shape").fail("expected 1 to 8 sizes");
  int64_t elements = 1;
  for (const auto& side : sides) {
    spec.shape.push_back(side.integer(1, kMaxElements));
    elements *= spec.shape.back();
    if (elements > kMaxElements) node.at("shape").fail("more values than a tensor can have here");
  }
  if (node.has("dtype")) spec.dtype = static_cast<mindseg_dtype>(node.at("dtype").choice(kDtypes));
  return spec;
}

std::vector<TensorSpec> read_tensors(const JsonNode& node) {
  std::vector<TensorSpec> specs;
  for (const auto& item : node.items()) specs.push_back(read_tensor(item));
  return specs;
}

// Three numbers on the scale of 8-bit images; far outside it the network's input overflows.
std::array<double, 3> read_triple(const JsonNode& node, double low, const std::string& expected) {
  const auto items = node.items();
  if (items.size() != 3) node.fail("expected three numbers");
  std::array<double, 3> values{};
  for (size_t i = 0; i < 3; ++i) {
    values[i] = items[i].number();
    if (!(values[i] >= low && values[i] <= kMaxColour)) items[i].fail("expected " + expected);
  }
  return values;
}

void read_names(const JsonNode& root, PreprocessSpec& spec) {
  for (const auto& name : root.at("class_names").items()) spec.class_names.push_back(name.text());
  if (spec.class_names.empty()) root.at("class_names").fail("no class");
  if (spec.task == Task::kSemantic) {
    if (spec.class_names.size() > kMaxClasses) root.at("class_names").fail("more than 255 classes");
    return;
  }
  for (const auto& id : root.at("category_ids").items()) spec.category_ids.push_back(id.integer(0, INT32_MAX));
  if (spec.category_ids.size() != spec.class_names.size()) {
    root.at("category_ids")
        .fail("expected one for each of the " + std::to_string(spec.class_names.size()) + " class_names");
  }
}

// The image input: (B, 3, H, W) or (B, H, W, 3); an instance model also takes each image's (height, width) in it.
void read_inputs(const JsonNode& root, PreprocessSpec& spec) {
  const JsonNode node = root.at("inputs");
  spec.inputs = read_tensors(node);
  const size_t expected = spec.task == Task::kSemantic ? 1 : 2;
  if (spec.inputs.size() != expected) node.fail("expected " + std::to_string(expected) + " input(s)");
  const JsonNode image_node = node.items()[0];
  const TensorSpec& image = spec.inputs[0];
  spec.nhwc = image_node.has("layout") && image_node.at("layout").choice({"NCHW", "NHWC"}) == 1;
  const size_t rows = spec.nhwc ? 1 : 2;
  if (image.shape.size() != 4 || image.shape[spec.nhwc ? 3 : 1] != 3) {
    image_node.at("shape").fail(spec.nhwc ? "expected [batch, height, width, 3]"
                                            : "expected [batch, 3, height, width]");
  }
  if (image.shape[0] > 1024 || image.shape[rows] > kMaxSide || image.shape[rows + 1] > kMaxSide) {
    image_node.at("shape").fail("a batch above 1024 or a side above 32768");
  }
  if (image.dtype != MINDSEG_FLOAT32 && image.dtype != MINDSEG_UINT8)
    image_node.fail("expected float32 or uint8 images");
  spec.batch = static_cast<int>(image.shape[0]);
  spec.canvas = {static_cast<int>(image.shape[rows]), static_cast<int>(image.shape[rows + 1])};
  if (expected == 2 &&
      (spec.inputs[1].shape != std::vector<int64_t>{spec.batch, 2} || spec.inputs[1].dtype != MINDSEG_FLOAT32)) {
    node.items()[1].fail("expected float32 [batch, 2]: the images' (height, width)");
  }
}

void expect_output(const JsonNode& node, const PreprocessSpec& spec, const std::string& name,
                   const std::vector<int64_t>& shape) {
  if (!spec.has_output(name)) node.fail("no output is called '" + name + "'");
  const auto& found = spec.output(name).shape;
  bool same = found.size() == shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i) same = shape[i] == -1 || shape[i] == found[i];
  if (!same)
    node.fail("'" + name + "' has the shape " + to_string(found) + ", expected " + to_string(shape) + " (-1: any)");
}

void read_outputs(const JsonNode& root, PreprocessSpec& spec) {
  const JsonNode node = root.at("outputs");
  spec.outputs = read_tensors(node);
  if (spec.task == Task::kSemantic) {
    const int64_t classes = static_cast<int64_t>(spec.class_names.size());
    const int64_t height = spec.canvas.height, width = spec.canvas.width;
    if (spec.has_output("labels")) {
      expect_output(node, spec, "labels", {spec.batch, height, width});
    } else {
      expect_output(node, spec, "scores", {spec.batch, classes, height, width});
    }
    return;
  }
  expect_output(node, spec, "boxes", {spec.batch, -1, 4});
  const int64_t slots = spec.output("boxes").shape[1];
  for (const auto* name : {"labels", "scores", "valid"}) expect_output(node, spec, name, {spec.batch, slots});
  expect_output(node, spec, "masks", {spec.batch, slots, -1, -1});
  const auto& masks = spec.output("masks").shape;
  if (masks[2] != masks[3]) node.fail("'masks' are not square");
}

void read_windows(const JsonNode& resize, PreprocessSpec& spec) {
  if (spec.task != Task::kSemantic || spec.has_output("labels")) {
    resize.at("rule").fail("slide averages the scores of a semantic model; this one returns none");
  }
  if (spec.resize_size != spec.canvas) resize.at("size").fail("the rule slide has windows of the input's size");
  const int most = std::min(spec.canvas.height, spec.canvas.width);  // above it, gaps would be left
  spec.slide_stride = static_cast<int>(resize.at("slide_stride").integer(1, most));
}

void read_tiles(const JsonNode& resize, PreprocessSpec& spec) {
  if (spec.task != Task::kInstance) resize.at("rule").fail("tiles merge the detections of an instance model");
  spec.rule = resize.at("tile_rule").choice({"canvas", "stretch"}) == 0 ? ResizeRule::kFit : ResizeRule::kStretch;
  const auto size = resize.at("tile_size").items();
  if (size.size() != 2) resize.at("tile_size").fail("expected [height, width]");
  spec.tile_size = {static_cast<int>(size[0].integer(1, kMaxTile)), static_cast<int>(size[1].integer(1, kMaxTile))};
  const int most = std::min(spec.tile_size.height, spec.tile_size.width) - 1;
  spec.tile_overlap = static_cast<int>(resize.at("tile_overlap").integer(0, most));
}

void read_geometry(const JsonNode& root, PreprocessSpec& spec) {
  const JsonNode resize = root.at("resize");
  static constexpr ResizeRule kRules[] = {ResizeRule::kLongSide, ResizeRule::kFit, ResizeRule::kFit,
                                          ResizeRule::kStretch, ResizeRule::kSlide};
  const size_t rule = resize.at("rule").choice({"long_side", "canvas", "short_side", "stretch", "slide", "tiles"});
  if (rule == std::size(kRules)) {
    read_tiles(resize, spec);
  } else {
    spec.rule = kRules[rule];
  }
  if (resize.has("interpolation")) resize.at("interpolation").choice({"bilinear"});
  if (resize.has("rounding")) spec.round_half_up = resize.at("rounding").choice({"floor", "round"}) == 1;
  const auto size = resize.at("size").items();
  if (size.size() != 2) resize.at("size").fail("expected [height, width]");
  spec.resize_size = {static_cast<int>(size[0].integer(1, kMaxSide)), static_cast<int>(size[1].integer(1, kMaxSide))};
  if (spec.resize_size.height > spec.canvas.height || spec.resize_size.width > spec.canvas.width) {
    resize.at("size").fail("larger than the input's " + std::to_string(spec.canvas.height) + " x " +
                           std::to_string(spec.canvas.width));
  }
  if (spec.rule == ResizeRule::kLongSide && spec.resize_size.height != spec.resize_size.width) {
    resize.at("size").fail("the rule long_side has a square canvas");
  }
  if (spec.rule == ResizeRule::kSlide) read_windows(resize, spec);
  root.at("pad").at("position").choice({"bottom_right"});
}

void read_colour(const JsonNode& root, PreprocessSpec& spec) {
  spec.bgr = root.at("decode").at("colour_order").choice({"RGB", "BGR"}) == 1;
  const JsonNode decode = root.at("decode");
  spec.turn = decode.has("exif_orientation") && decode.at("exif_orientation").choice({"ignored", "turned"}) == 1;
  if (decode.has("bits16")) decode.at("bits16").choice({"upper byte"});  // other bit depths: not here
  const JsonNode normalise = root.at("normalise");
  spec.mean = read_triple(normalise.at("mean"), -kMaxColour, "a number from -1e6 to 1e6");
  spec.deviation = read_triple(normalise.at("std"), 1 / kMaxColour, "a positive number from 1e-6 to 1e6");
  spec.normalise_in_model = normalise.has("in_model") && normalise.at("in_model").flag();
  if (!spec.normalise_in_model && spec.inputs[0].dtype == MINDSEG_UINT8) {
    normalise.fail("uint8 inputs need in_model = true");
  }
  const JsonNode pad = root.at("pad").at("value");
  spec.padding =
      static_cast<Padding>(pad.choice({"zero_after_normalisation", "black_before_normalisation", "mean"}));
  if (spec.normalise_in_model ? spec.padding == Padding::kZero : spec.padding == Padding::kMean) {
    pad.fail(spec.normalise_in_model ? "a model that normalises itself is padded with \"mean\" or black"
                                       : "\"mean\" is for a model that normalises itself (in_model = true)");
  }
}

// {class name: least score}.
void read_score_thresholds(const JsonNode& node, PreprocessSpec& spec) {
  if (spec.task != Task::kInstance) node.fail("only detections have scores by class");
  for (const auto& name : node.keys()) {
    const auto found = std::find(spec.class_names.begin() + 1, spec.class_names.end(), name);
    if (found == spec.class_names.end()) node.at(name.c_str()).fail("class_names has no such class");
    const double least = node.at(name.c_str()).number();
    if (!(least >= 0 && least <= 1)) node.at(name.c_str()).fail("expected a score from 0 to 1");
    spec.score_thresholds[static_cast<int>(found - spec.class_names.begin())] = least;
  }
}

void read_postprocess(const JsonNode& root, PreprocessSpec& spec) {
  if (!root.has("postprocess")) return;
  const JsonNode node = root.at("postprocess");
  if (node.has("mask_threshold")) spec.mask_threshold = node.at("mask_threshold").number();
  if (node.has("paste_pad")) spec.paste_pad = static_cast<int>(node.at("paste_pad").integer(0, 1));
  if (node.has("score_thresholds")) read_score_thresholds(node.at("score_thresholds"), spec);
  if (node.has("merged_max_per_img")) {
    spec.merged_max_per_img = static_cast<int>(node.at("merged_max_per_img").integer(0, INT32_MAX));
  }
}

}  // namespace

nlohmann::json read_json(const std::filesystem::path& path, const std::string& remedy) {
  std::error_code ignored;
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path, ignored)) {
    throw Failure(path.string() + ": cannot be read; grant read access, or " + remedy);
  }
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    throw Failure(path.string() + ": is not valid JSON (" + error.what() + "); " + remedy);
  }
}

PreprocessSpec read_recipe(const std::filesystem::path& path) {
  const nlohmann::json content = read_json(path, kExportAgain);
  const JsonNode root(content, path.string());
  root.at("format").choice({"mindseg.preprocess"});
  root.at("version").integer(1, 1);
  PreprocessSpec spec;
  spec.task = root.at("task").choice({"semantic", "instance"}) == 0 ? Task::kSemantic : Task::kInstance;
  spec.model = root.at("model").text();
  spec.checkpoint_sha256 = root.at("checkpoint").at("sha256").text();
  read_names(root, spec);
  read_inputs(root, spec);
  read_outputs(root, spec);
  read_geometry(root, spec);
  read_colour(root, spec);
  read_postprocess(root, spec);
  return spec;
}

int64_t TensorSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

size_t TensorSpec::bytes() const { return static_cast<size_t>(elements()) * bytes_of(dtype); }

bool PreprocessSpec::has_output(const std::string& name) const {
  for (const auto& spec : outputs) {
    if (spec.name == name) return true;
  }
  return false;
}

std::vector<cv::Rect> PreprocessSpec::parts(Size image) const {
  if (rule == ResizeRule::kSlide) return windows(image, canvas, {slide_stride, slide_stride});
  return windows(image, tile_size, {tile_size.height - tile_overlap, tile_size.width - tile_overlap});
}

bool PreprocessSpec::is_result(int label, float score) const {
  const auto least = score_thresholds.find(label);
  return least == score_thresholds.end() || static_cast<double>(score) >= least->second;
}

bool PreprocessSpec::half_suffices() const {
  return std::all_of(outputs.begin(), outputs.end(), [](const auto& spec) { return spec.dtype == MINDSEG_FLOAT16; });
}

const TensorSpec& PreprocessSpec::output(const std::string& name) const {
  for (const auto& spec : outputs) {
    if (spec.name == name) return spec;
  }
  throw Failure("preprocess.json has no output '" + name + "'; export the model again");
}

size_t bytes_of(mindseg_dtype dtype) {
  static constexpr size_t kBytes[] = {4, 2, 4, 8, 1, 1, 1};
  return kBytes[dtype];
}

std::string to_string(mindseg_dtype dtype) {
  return static_cast<size_t>(dtype) < kDtypes.size() ? kDtypes[dtype] : "an unknown type";
}

std::string to_string(const std::vector<int64_t>& shape) {
  std::string text;
  for (const auto side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return "[" + text + "]";
}

}  // namespace mindseg
