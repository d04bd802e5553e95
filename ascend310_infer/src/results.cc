#include "results.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "failure.h"
#include "fingerprint.h"
#include "json_node.h"
#include "preprocess.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace mindseg {
namespace {

const std::string kElsewhere = "give another --result_path (run_infer_310.sh: infer_path)";

std::string text_of(const json& content) { return content.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

json measured(const Timing& timing) {
  json latency = json::object();
  for (const auto& [stage, p] : timing.percentiles()) {
    latency[stage] = {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}};
  }
  return {{"images_per_second", timing.images_per_second()}, {"latency_ms", latency}};
}

// What an earlier run measured, for one that had nothing to do.
json measured_before(const fs::path& index) {
  json content;
  if (std::ifstream file(index); file) content = json::parse(file, nullptr, false);
  json result = measured(Timing());
  for (auto& [key, value] : result.items()) {
    if (content.is_object() && content.contains(key)) value = content[key];
  }
  return result;
}

}  // namespace

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!fs::is_directory(path)) {
    throw Failure(path.string() + ": the folder cannot be created (" + (error ? error.message() : "a file is there") +
                  "); choose another one");
  }
}

void write_whole(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path unfinished = path.parent_path() / (".unfinished-" + path.filename().string());
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  write(file);
  file.close();
  if (!file) throw Failure(path.string() + ": cannot be written (" + std::strerror(errno) + ")");
  std::error_code error;
  fs::rename(unfinished, path, error);
  if (error) throw Failure(path.string() + ": cannot be written (" + error.message() + ")");
}

void write_whole(const fs::path& path, const std::string& content) {
  write_whole(path, [&](std::ostream& file) {
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
  });
}

Results::Results(const Options& options, const PreprocessSpec& spec) : folder_(options.result_path), spec_(spec) {
  make_folder(folder_);
  expect_own_folder(options);
  make_folder(folder_ / (spec.task == Task::kSemantic ? "labels" : "detections"));
  read_fingerprints();
}

void Results::expect_own_folder(const Options& options) const {
  json spec = read_json(options.preprocess, kExportAgain);
  spec.erase("files");  // an export to another format beside it adds one
  const json own = {{"format", "mindseg.run"},
                    {"version", 3},
                    {"model_file", fingerprint_of_file(options.model_path)},
                    {"preprocess", spec}};
  const std::string place = "--result_path=" + folder_.string() + ": holds ";
  const fs::path path = folder_ / "run.json";
  if (fs::exists(path)) {
    if (read_json(path, kElsewhere) == own) return;
    throw Failure(place + "results of another model or preprocessing, or of an earlier version (run.json); " +
                  kElsewhere);
  }
  for (const auto* name : {"index.json", "detections.json", "labels", "detections", "overlays", "fingerprints.txt"}) {
    if (fs::exists(folder_ / name)) {
      throw Failure(place + name + ", and no run.json says of which model; " + kElsewhere);
    }
  }
  write_whole(path, text_of(own));
}

// Lines `fingerprint "stem"`. A last one that was cut off is dropped.
void Results::read_fingerprints() {
  const fs::path path = folder_ / "fingerprints.txt";
  std::string image, stem;
  for (std::ifstream file(path); file >> image >> std::quoted(stem);) fingerprints_[stem] = image;
  std::ostringstream whole;
  for (const auto& [name, value] : fingerprints_) whole << value << ' ' << std::quoted(name) << '\n';
  write_whole(path, whole.str());
  journal_.open(path, std::ios::app);
}

std::string Results::relative(const ImageFile& image) const {
  return spec_.task == Task::kSemantic ? "labels/" + image.stem + ".png" : "detections/" + image.stem + ".json";
}

bool Results::has(const ImageFile& image) const {
  std::error_code error;
  const fs::path path = folder_ / relative(image);
  const auto known = fingerprints_.find(image.stem);
  const bool is_there = fs::is_regular_file(path, error) && fs::file_size(path, error) > 0;
  if (!is_there || known == fingerprints_.end()) return false;
  try {
    const auto bytes = read_image(image.path);
    if (fingerprint(bytes.data(), bytes.size()) == known->second) return true;
  } catch (const ImageError&) {
    return false;  // who works on it will say why
  }
  throw Failure(path.string() + ": is the result of another image than " + image.path.string() + "; " +
                kElsewhere + ", or delete it");
}

void Results::store(const ImageFile& image, const std::string& fingerprint, const std::string& content) {
  {  // first, so that no result is ever without
    const std::lock_guard<std::mutex> lock(mutex_);
    journal_ << fingerprint << ' ' << std::quoted(image.stem) << std::endl;
    if (!journal_) throw Failure((folder_ / "fingerprints.txt").string() + ": cannot be written");
  }
  write_whole(folder_ / relative(image), content);
}

// One COCO results file of the images whose id is known, an entry a line; one image's detections in memory at a time.
json Results::gather_coco_results(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes) const {
  static const std::string kName = "detections.json";
  int64_t known = 0, unknown = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    if (outcomes[i].error.empty()) ++(images[i].id ? known : unknown);
  }
  if (known == 0) {
    return {{"file", nullptr},
            {"images", 0},
            {"images_without_id", unknown},
            {"reason",
             "the COCO id of no image is known; give a list of images (--image_list) with the id behind each name, as "
             "src/tools/list_coco_images.py writes it"}};
  }
  write_whole(folder_ / kName, [&](std::ostream& file) {
    const char* separator = "[\n";
    for (size_t i = 0; i < images.size(); ++i) {
      if (!outcomes[i].error.empty() || !images[i].id) continue;
      const fs::path path = folder_ / relative(images[i]);
      const json content = read_json(path, "delete it and run the inference again");
      if (!content.is_object() || !content.contains("detections") || !content["detections"].is_array()) {
        throw Failure(path.string() + ": holds no detections; delete it and run the inference again");
      }
      for (json row : content["detections"]) {
        row.erase("label");
        row.erase("name");
        row["image_id"] = *images[i].id;
        file << separator << row.dump();
        separator = ",\n";
      }
    }
    file << (*separator == '[' ? "[]\n" : "\n]\n");
  });
  return {{"file", kName}, {"images", known}, {"images_without_id", unknown}, {"reason", nullptr}};
}

void Results::finish(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes,
                     const Timing& timing) const {
  json index = {{"format", "mindseg.results"},
                {"version", 2},
                {"task", spec_.task == Task::kSemantic ? "semantic" : "instance"},
                {"model", spec_.model},
                {"checkpoint_sha256", spec_.checkpoint_sha256},
                {"class_names", spec_.class_names},
                {"images", json::array()}};
  index.update(timing.images() > 0 ? measured(timing) : measured_before(folder_ / "index.json"));
  if (spec_.task == Task::kInstance) {
    index["category_ids"] = spec_.category_ids;
    index["score_thresholds"] = json::object();
    for (const auto& [label, least] : spec_.score_thresholds) {
      index["score_thresholds"][spec_.class_names[label]] = least;
    }
    index["coco_results"] = gather_coco_results(images, outcomes);
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const bool done = outcomes[i].error.empty();
    index["images"].push_back({{"file_name", images[i].name},
                               {"image_id", images[i].id ? json(*images[i].id) : json(nullptr)},
                               {"result", done ? json(relative(images[i])) : json(nullptr)},
                               {"error", done ? json(nullptr) : json(outcomes[i].error)}});
  }
  write_whole(folder_ / "index.json", text_of(index));
}

}  // namespace mindseg
