#include "model.h"

#include <dlfcn.h>

#include <array>
#include <filesystem>
#include <set>

#include "failure.h"

namespace fs = std::filesystem;

namespace mindseg {
namespace {

Status status_of(int code) { return code == MINDSEG_REFUSED ? Status::kBackendRefused : Status::kUnusable; }

fs::path library_path(const std::string& backend) {
  return fs::read_symlink("/proc/self/exe").parent_path() / ("libmindseg_backend_" + backend + ".so");
}

std::string install_hint(const std::string& backend) {
  if (backend == "openvino") return "install the PyPI wheel openvino and run ascend310_infer/build.sh again";
  return "install MindSpore Lite for Ascend 310, set MS_LITE_HOME to its folder and run ascend310_infer/build.sh again";
}

}  // namespace

Model::Library::Library(const std::string& backend) : handle(nullptr, dlclose) {
  const fs::path path = library_path(backend);
  if (!fs::exists(path)) {
    throw Failure(
        "the backend " + backend + " was not built (" + path.string() + " does not exist); " + install_hint(backend),
        Status::kBackendRefused);
  }
  handle.reset(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!handle) {
    throw Failure(
        std::string("the backend ") + backend + " cannot be loaded: " + dlerror() + "; " + install_hint(backend),
        Status::kBackendRefused);
  }
  bind(version, "mindseg_version");
  if (version() != MINDSEG_BACKEND_VERSION) {
    throw Failure(path.string() + " has another version than the program; run ascend310_infer/build.sh again",
                  Status::kBackendRefused);
  }
  bind(open, "mindseg_open");
  bind(count, "mindseg_count");
  bind(info, "mindseg_info");
  bind(slots, "mindseg_slots");
  bind(run, "mindseg_run");
  bind(close, "mindseg_close");
}

template <typename Function>
void Model::Library::bind(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(dlsym(handle.get(), name));
  if (!function) throw Failure(std::string("the backend's library has no ") + name, Status::kBackendRefused);
}

Model::Model(const Options& options, const PreprocessSpec& spec, int parallel_runs)
    : path_(options.model_path.string()), library_(options.backend), outputs_(spec.outputs) {
  const mindseg_options asked{path_.c_str(), options.device_type.c_str(), options.device_id, options.threads,
                              parallel_runs, spec.half_suffices()};
  std::array<char, 2048> error{};
  mindseg_model* opened = nullptr;
  const int code = library_.open(&asked, &opened, error.data(), error.size());
  if (code != MINDSEG_OK) throw Failure(path_ + ": " + error.data(), status_of(code));
  model_ = {opened, [close = library_.close](mindseg_model* model) { close(model); }};
  auto inputs = spec.inputs;
  input_positions_ = match(MINDSEG_INPUT, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype != spec.inputs[i].dtype) {
      throw Failure(path_ + ": input '" + inputs[i].name + "' is " + to_string(inputs[i].dtype) +
                    ", preprocess.json says " + to_string(spec.inputs[i].dtype) +
                    "; they come from different exports");
    }
  }
  output_positions_ = match(MINDSEG_OUTPUT, outputs_);
}

std::vector<int> Model::match(mindseg_direction direction, std::vector<TensorSpec>& specs) const {
  const std::string what = direction == MINDSEG_INPUT ? "input" : "output";
  const int count = library_.count(model_.get(), direction);
  if (count != static_cast<int>(specs.size())) {
    throw Failure(path_ + ": has " + std::to_string(count) + " " + what + "(s), preprocess.json names " +
                  std::to_string(specs.size()) + "; they come from different exports");
  }
  std::vector<mindseg_tensor_info> infos(specs.size());
  std::set<std::string> names;
  for (int i = 0; i < count; ++i) {
    library_.info(model_.get(), direction, i, &infos[i]);
    names.insert(infos[i].name);
  }
  bool named = true;
  for (const auto& spec : specs) named = named && names.count(spec.name);
  std::vector<int> positions(specs.size());
  for (int i = 0; i < count; ++i) {
    int position = i;
    while (named && infos[position].name != specs[i].name) position = (position + 1) % count;
    const auto& info = infos[position];
    const std::vector<int64_t> shape(info.shape, info.shape + info.rank);
    if (shape != specs[i].shape || info.dtype == MINDSEG_OTHER) {
      throw Failure(path_ + ": " + what + " '" + info.name + "' is " + to_string(info.dtype) + " " + to_string(shape) +
                    ", preprocess.json says " + to_string(specs[i].shape) + "; they come from different exports");
    }
    specs[i].dtype = info.dtype;
    positions[i] = position;
  }
  return positions;
}

void Model::run(int slot, const std::vector<Buffer>& inputs, std::vector<Buffer>& outputs) const {
  std::vector<const void*> in(inputs.size());
  std::vector<void*> out(outputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) in[input_positions_[i]] = inputs[i].data();
  for (size_t i = 0; i < outputs.size(); ++i) out[output_positions_[i]] = outputs[i].data();
  std::array<char, 2048> error{};
  const int code = library_.run(model_.get(), slot, in.data(), out.data(), error.data(), error.size());
  if (code != MINDSEG_OK) throw Failure(path_ + ": " + error.data(), status_of(code));
}

}  // namespace mindseg
