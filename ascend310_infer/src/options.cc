#include "options.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>
#include <thread>
#include <utility>

#include "failure.h"

namespace fs = std::filesystem;

namespace mindseg {
namespace {

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i));
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

int whole_number(const std::string& flag, const std::string& text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    throw Failure(flag + "=" + text + ": expected a whole number from " + std::to_string(low) + " to " +
                  std::to_string(high));
  }
  return value;
}

std::string one_of(const std::string& flag, const std::string& text, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return text;
  std::string message = flag + "=" + text + nearest(text, choices) + "; expected one of:";
  for (const auto& choice : choices) message += " " + choice;
  throw Failure(message);
}

using Setter = std::function<void(Options&, const std::string&)>;

const std::vector<std::pair<std::string, Setter>>& flags() {
  static const std::vector<std::pair<std::string, Setter>> table = {
      {"--model_path", [](Options& o, const std::string& v) { o.model_path = v; }},
      {"--dataset_path", [](Options& o, const std::string& v) { o.dataset_path = v; }},
      {"--image_list", [](Options& o, const std::string& v) { o.image_list = v; }},
      {"--result_path", [](Options& o, const std::string& v) { o.result_path = v; }},
      {"--preprocess", [](Options& o, const std::string& v) { o.preprocess = v; }},
      {"--dump_inputs", [](Options& o, const std::string& v) { o.dump_inputs = v; }},
      {"--device_type",
       [](Options& o, const std::string& v) { o.device_type = one_of("--device_type", v, {"Ascend", "CPU"}); }},
      {"--device_id", [](Options& o, const std::string& v) { o.device_id = whole_number("--device_id", v, 0, 4095); }},
      {"--threads", [](Options& o, const std::string& v) { o.threads = whole_number("--threads", v, 1, 1024); }},
      {"--backend",
       [](Options& o, const std::string& v) { o.backend = one_of("--backend", v, {"openvino", "mindspore"}); }},
  };
  return table;
}

void set(Options& options, const std::string& flag, const std::string& value) {
  std::vector<std::string> names;
  for (const auto& [name, setter] : flags()) {
    if (name != flag) {
      names.push_back(name);
      continue;
    }
    if (value.empty()) throw Failure(flag + " is empty; give " + flag + "=VALUE");
    setter(options, value);
    return;
  }
  throw Failure(flag + ": unknown flag" + nearest(flag, names) + " (--help lists the flags)");
}

void check_file(const std::string& flag, const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw Failure(flag + "=" + path.string() + ": a folder; give a file");
  if (!fs::is_regular_file(path, ignored)) throw Failure(flag + "=" + path.string() + ": no such file");
  if (!std::ifstream(path)) {
    throw Failure(flag + "=" + path.string() + ": cannot be read (" + std::strerror(errno) + "); grant read access");
  }
}

void check(const Options& options) {
  const std::vector<std::pair<std::string, fs::path>> needed = {{"--model_path", options.model_path},
                                                                {"--dataset_path", options.dataset_path},
                                                                {"--result_path", options.result_path}};
  for (const auto& [flag, value] : needed) {
    if (value.empty()) throw Failure(flag + " is missing (--help lists the flags)");
  }
  check_file("--model_path", options.model_path);
  check_file("--preprocess", options.preprocess);
  if (!options.image_list.empty()) check_file("--image_list", options.image_list);
  std::error_code ignored;
  if (!fs::is_directory(options.dataset_path, ignored)) {
    throw Failure("--dataset_path=" + options.dataset_path.string() + ": no such folder");
  }
}

// ONNX has one backend; the formats of MindSpore and Ascend have the other.
std::string backend_for(const fs::path& model) {
  std::string extension = model.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".onnx") return "openvino";
  for (const auto* known : {".mindir", ".air", ".om"}) {
    if (extension == known) return "mindspore";
  }
  throw Failure("--model_path=" + model.string() +
                ": unknown kind of model; expected .mindir, .air, .om or .onnx, or "
                "name the library with --backend=openvino or --backend=mindspore");
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
  const auto distance = [&](const std::string& name) { return edit_distance(word, name); };
  const auto best = std::min_element(names.begin(), names.end(),
                                     [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  if (best == names.end() || distance(*best) * 2 > static_cast<int>(best->size())) return "";
  return ", did you mean " + *best + "?";
}

std::string usage() {
  return "usage: main --model_path=FILE --dataset_path=DIR --result_path=DIR [flags]\n"
         "  --model_path=FILE     .mindir, .air or .om (MindSpore, Ascend), or .onnx (OpenVINO, CPU)\n"
         "  --dataset_path=DIR    folder that the images' paths start from\n"
         "  --result_path=DIR     folder for the results (docs/results.md); a second run continues where one stopped\n"
         "  --image_list=FILE     one image per line: its path, perhaps its COCO id (default: all of the folder)\n"
         "  --device_type=TYPE    Ascend (default) or CPU\n"
         "  --device_id=N         Ascend device (default 0)\n"
         "  --preprocess=FILE     how images become inputs (default: preprocess.json beside the model)\n"
         "  --backend=NAME        openvino or mindspore (default: by the model's extension)\n"
         "  --threads=N           CPU threads of the network (default: one per core)\n"
         "  --dump_inputs=DIR     also write every network input as raw values, to compare programs\n"
         "exit status: 0 done, 2 wrong use or unusable files, 3 some images unreadable, 4 device or library refused\n";
}

Options parse_options(const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") {
      options.help = true;
      return options;
    }
    if (word.rfind("--", 0) != 0) throw Failure(word + ": unexpected word; flags are --NAME=VALUE (--help lists them)");
    const size_t equals = word.find('=');
    if (equals != std::string::npos) {
      set(options, word.substr(0, equals), word.substr(equals + 1));
    } else {  // --name value
      const bool has_value = i + 1 < words.size() && words[i + 1].rfind("--", 0) != 0;
      set(options, word, has_value ? words[++i] : "");
    }
  }
  if (options.preprocess.empty()) options.preprocess = options.model_path.parent_path() / "preprocess.json";
  if (options.threads == 0) options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  check(options);
  if (options.backend.empty()) options.backend = backend_for(options.model_path);
  return options;
}

}  // namespace mindseg
