// A model behind the backend's C interface.
#ifndef MINDSEG_MODEL_H_
#define MINDSEG_MODEL_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "options.h"
#include "preprocess_spec.h"

namespace mindseg {

using Buffer = std::vector<std::byte>;

class Model {
 public:
  // Loads the backend's library from beside the program and the model into it, and compares its inputs and outputs with
  // preprocess.json. Throws Failure: kBackendRefused where library or device are absent, kUnusable where the model does
  // not fit.
  Model(const Options& options, const PreprocessSpec& spec, int parallel_runs);

  // How many threads may call `run` at once, each with a slot of its own below this.
  int slots() const { return library_.slots(model_.get()); }

  // The outputs of preprocess.json, with the types that the model really returns.
  const std::vector<TensorSpec>& outputs() const { return outputs_; }

  // One buffer for each of the inputs of preprocess.json, and for each of `outputs()`. Throws Failure.
  void run(int slot, const std::vector<Buffer>& inputs, std::vector<Buffer>& outputs) const;

 private:
  struct Library {
    explicit Library(const std::string& backend);
    template <typename Function>
    void bind(Function*& function, const char* name);

    std::unique_ptr<void, int (*)(void*)> handle;
    decltype(&mindseg_version) version = nullptr;
    decltype(&mindseg_open) open = nullptr;
    decltype(&mindseg_count) count = nullptr;
    decltype(&mindseg_info) info = nullptr;
    decltype(&mindseg_slots) slots = nullptr;
    decltype(&mindseg_run) run = nullptr;
    decltype(&mindseg_close) close = nullptr;
  };

  // Positions of `specs` in the model, by name where it keeps the names (converters drop them), else as they stand.
  // The types become the model's. Throws Failure for another count or shape.
  std::vector<int> match(mindseg_direction direction, std::vector<TensorSpec>& specs) const;

  std::string path_;
  Library library_;
  std::unique_ptr<mindseg_model, std::function<void(mindseg_model*)>> model_;  // closed before its library
  std::vector<TensorSpec> outputs_;
  std::vector<int> input_positions_;
  std::vector<int> output_positions_;
};

}  // namespace mindseg
#endif  // MINDSEG_MODEL_H_
