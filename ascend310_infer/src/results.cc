#include "results.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "failure.h"
#include "json_node.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace mindseg {
namespace {

std::string text_of(const json& content) { return content.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

}  // namespace

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!fs::is_directory(path)) {
    throw Failure(path.string() + ": the folder cannot be made (" + (error ? error.message() : "a file is there") +
                  "); choose another one");
  }
}

void write_whole(const fs::path& path, const std::string& content) {
  const fs::path unfinished = path.parent_path() / (".unfinished-" + path.filename().string());
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) throw Failure(path.string() + ": cannot be written (" + std::strerror(errno) + ")");
  std::error_code error;
  fs::rename(unfinished, path, error);
  if (error) throw Failure(path.string() + ": cannot be written (" + error.message() + ")");
}

Results::Results(const fs::path& folder, const Recipe& recipe, const fs::path& model)
    : folder_(folder), recipe_(recipe) {
  make_folder(folder_);
  const json own = {{"format", "mindseg.run"},
                    {"version", 1},
                    {"model", recipe.model},
                    {"checkpoint_sha256", recipe.checkpoint_sha256},
                    {"model_file_bytes", fs::file_size(model)}};
  const fs::path path = folder_ / "run.json";
  if (fs::exists(path)) {
    if (read_json(path) != own) {
      throw Failure("--result_path=" + folder_.string() +
                    ": holds results of another model (run.json); give another folder");
    }
  } else if (!fs::is_empty(folder_)) {
    throw Failure("--result_path=" + folder_.string() +
                  ": holds files that are no results (no run.json); give another "
                  "folder");
  }
  write_whole(path, text_of(own));
  make_folder(folder_ / (recipe.task == Task::kSemantic ? "labels" : "detections"));
}

std::string Results::relative(const ImageFile& image) const {
  return recipe_.task == Task::kSemantic ? "labels/" + image.stem + ".png" : "detections/" + image.stem + ".json";
}

bool Results::has(const ImageFile& image) const { return fs::is_regular_file(folder_ / relative(image)); }

void Results::store(const ImageFile& image, const std::string& content) const {
  write_whole(folder_ / relative(image), content);
}

void Results::finish(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes,
                     const Timing& timing) const {
  json index = {{"format", "mindseg.results"},
                {"version", 1},
                {"task", recipe_.task == Task::kSemantic ? "semantic" : "instance"},
                {"model", recipe_.model},
                {"checkpoint_sha256", recipe_.checkpoint_sha256},
                {"class_names", recipe_.class_names},
                {"images_per_second", timing.images_per_second()},
                {"latency_ms", json::object()},
                {"images", json::array()}};
  if (recipe_.task == Task::kInstance) index["category_ids"] = recipe_.category_ids;
  for (const auto& [stage, p] : timing.percentiles()) {
    index["latency_ms"][stage] = {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}};
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const bool done = outcomes[i].error.empty();
    index["images"].push_back({{"file_name", images[i].name},
                               {"result", done ? json(relative(images[i])) : json(nullptr)},
                               {"error", done ? json(nullptr) : json(outcomes[i].error)}});
  }
  write_whole(folder_ / "index.json", text_of(index));
}

}  // namespace mindseg
