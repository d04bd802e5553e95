// Runs ONNX files on a CPU with OpenVINO, in float32.
#include <cstdlib>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "backend.h"
#include "backend_error.h"

namespace {

mindseg_dtype dtype_of(const ov::element::Type& type) {
  if (type == ov::element::f32) return MINDSEG_FLOAT32;
  if (type == ov::element::f16) return MINDSEG_FLOAT16;
  if (type == ov::element::i32) return MINDSEG_INT32;
  if (type == ov::element::i64) return MINDSEG_INT64;
  if (type == ov::element::u8) return MINDSEG_UINT8;
  if (type == ov::element::boolean) return MINDSEG_BOOL;
  return MINDSEG_OTHER;
}

std::string name_of(const ov::Output<const ov::Node>& port) {
  return port.get_names().empty() ? port.get_node()->get_friendly_name() : port.get_any_name();
}

ov::Shape fixed_shape(const ov::Output<const ov::Node>& port) {
  if (port.get_partial_shape().is_dynamic() || port.get_partial_shape().size() > MINDSEG_MAX_RANK) {
    throw std::runtime_error("'" + name_of(port) +
                             "' has no fixed shape; export the model again, without dynamic sizes");
  }
  return port.get_shape();
}

// Why a file is refused: OpenVINO's texts run over many lines, of which the last says what is wrong.
std::string short_text(const std::exception& error) {
  std::string text = error.what();
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  const size_t line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

}  // namespace

struct mindseg_model {
  struct Port {
    std::string name;
    ov::element::Type type;
    ov::Shape shape;
  };

  explicit mindseg_model(const mindseg_options& options) {
    if (std::string(options.device_type) != "CPU") {
      throw mindseg::Refused(
          "OpenVINO runs models on a CPU: give --device_type=CPU, or a .mindir, .air or .om model for "
          "Ascend");
    }
    auto compiled = compile(options);
    for (const auto& input : compiled.inputs()) {
      inputs.push_back({name_of(input), input.get_element_type(), fixed_shape(input)});
    }
    for (const auto& output : compiled.outputs()) {
      outputs.push_back({name_of(output), output.get_element_type(), fixed_shape(output)});
    }
    const auto runs = options.parallel_runs > 0 ? static_cast<uint32_t>(options.parallel_runs)
                                                : compiled.get_property(ov::optimal_number_of_infer_requests);
    while (requests.size() < runs) requests.push_back(compiled.create_infer_request());
  }

  static ov::CompiledModel compile(const mindseg_options& options) try {
    // MindSpore's switch for its own convolutions, perhaps inherited: under it OpenVINO compiles code that crashes.
    unsetenv("ONEDNN_MAX_CPU_ISA");
    static ov::Core core;
    ov::AnyMap settings{ov::hint::inference_precision(ov::element::f32), ov::inference_num_threads(options.threads),
                        ov::hint::performance_mode(ov::hint::PerformanceMode::THROUGHPUT)};
    if (options.parallel_runs > 0) settings.insert(ov::num_streams(options.parallel_runs));
    return core.compile_model(options.model_path, "CPU", settings);
  } catch (const ov::Exception& error) {
    throw std::runtime_error("OpenVINO cannot load it (" + short_text(error) + "); export the model again");
  }

  const std::vector<Port>& ports(mindseg_direction direction) const {
    return direction == MINDSEG_INPUT ? inputs : outputs;
  }

  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::vector<ov::InferRequest> requests;
};

int mindseg_version(void) { return MINDSEG_BACKEND_VERSION; }

int mindseg_open(const mindseg_options* options, mindseg_model** model, char* error, size_t error_size) {
  *model = nullptr;
  return mindseg::guarded(error, error_size, [&] { *model = new mindseg_model(*options); });
}

int mindseg_count(const mindseg_model* model, mindseg_direction direction) {
  return static_cast<int>(model->ports(direction).size());
}

void mindseg_info(const mindseg_model* model, mindseg_direction direction, int index, mindseg_tensor_info* info) {
  const auto& port = model->ports(direction)[index];
  info->name = port.name.c_str();
  info->dtype = dtype_of(port.type);
  info->rank = static_cast<int>(port.shape.size());
  std::copy(port.shape.begin(), port.shape.end(), info->shape);
}

int mindseg_slots(const mindseg_model* model) { return static_cast<int>(model->requests.size()); }

int mindseg_run(mindseg_model* model, int slot, const void* const* inputs, void* const* outputs, char* error,
                size_t error_size) {
  return mindseg::guarded(error, error_size, [&] {
    auto& request = model->requests[slot];
    for (size_t i = 0; i < model->inputs.size(); ++i) {
      const auto& port = model->inputs[i];
      request.set_input_tensor(i, ov::Tensor(port.type, port.shape, const_cast<void*>(inputs[i])));
    }
    for (size_t i = 0; i < model->outputs.size(); ++i) {
      request.set_output_tensor(i, ov::Tensor(model->outputs[i].type, model->outputs[i].shape, outputs[i]));
    }
    request.infer();
  });
}

void mindseg_close(mindseg_model* model) { delete model; }
