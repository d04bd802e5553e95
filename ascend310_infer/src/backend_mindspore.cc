// Runs MINDIR, AIR and OM files on an Ascend 310 or 310P with MindSpore Lite's C++ API, and MINDIR on a CPU.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "backend_error.h"
#include "include/api/context.h"
#include "include/api/model.h"
#include "include/api/types.h"

namespace ms = mindspore;

namespace {

mindseg_dtype dtype_of(ms::DataType type) {
  switch (type) {
    case ms::DataType::kNumberTypeFloat32:
      return MINDSEG_FLOAT32;
    case ms::DataType::kNumberTypeFloat16:
      return MINDSEG_FLOAT16;
    case ms::DataType::kNumberTypeInt32:
      return MINDSEG_INT32;
    case ms::DataType::kNumberTypeInt64:
      return MINDSEG_INT64;
    case ms::DataType::kNumberTypeUInt8:
      return MINDSEG_UINT8;
    case ms::DataType::kNumberTypeBool:
      return MINDSEG_BOOL;
    default:
      return MINDSEG_OTHER;
  }
}

ms::ModelType type_of(const std::string& path) {
  const auto ends_with = [&path](const std::string& suffix) {
    return path.size() >= suffix.size() && path.compare(path.size() - suffix.size(), suffix.size(), suffix) == 0;
  };
  if (ends_with(".om")) return ms::kOM;
  return ends_with(".air") ? ms::kAIR : ms::kMindIR;
}

// Without a mode MindSpore Lite calculates everything in float16 (AscendDeviceInfo::SetPrecisionMode in its context.h),
// in which a coordinate of 1,500 px is known to 1 px. The other mode lowers only what the chip has in float16 alone:
// the mode that keeps each operator's own type ends with an error on 310P, which has no convolution in float32.
constexpr const char *kHalf = "enforce_fp16", *kFloat = "preferred_fp32";

std::shared_ptr<ms::Context> context_for(const mindseg_options& options) {
  auto context = std::make_shared<ms::Context>();
  if (std::string(options.device_type) == "CPU") {
    auto cpu = std::make_shared<ms::CPUDeviceInfo>();
    context->MutableDeviceInfo().push_back(cpu);
  } else {
    auto ascend = std::make_shared<ms::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(options.device_id));
    ascend->SetPrecisionMode(options.half_suffices ? kHalf : kFloat);
    context->MutableDeviceInfo().push_back(ascend);
  }
  return context;
}

std::string reason(const ms::Status& status) {
  const std::string text = status.GetErrDescription();
  return text.empty() ? status.ToString() : text;
}

std::string precision_mode(ms::Context& context) {
  return context.MutableDeviceInfo().at(0)->Cast<ms::AscendDeviceInfo>()->GetPrecisionMode();
}

[[noreturn]] void refuse(const mindseg_options& options, ms::Context& context, const ms::Status& status) {
  const std::string converted =
      "; a .mindir of a MindSpore newer than Lite is refused so: convert the .onnx of the same export with Lite's "
      "converter_lite --fmk=ONNX";
  if (std::string(options.device_type) == "CPU") {
    throw mindseg::Refused("MindSpore Lite does not run it on a CPU (" + reason(status) + "; its log is above)" +
                           converted + ", or give the .onnx itself, which needs the PyPI wheel openvino");
  }
  throw mindseg::Refused("MindSpore Lite does not run it on Ascend device " + std::to_string(options.device_id) +
                         " in precision mode " + precision_mode(context) + " (" + reason(status) +
                         "; its log is above); install CANN and the MindSpore Lite package for Ascend 310/310P, set "
                         "MS_LITE_HOME, source CANN's set_env.sh, and see npu-smi info for the device" +
                         converted);
}

}  // namespace

struct mindseg_model {
  struct Port {
    std::string name;
    mindseg_dtype dtype;
    std::vector<int64_t> shape;
  };

  explicit mindseg_model(const mindseg_options& options) {
    const auto context = context_for(options);
    const ms::Status built = model.Build(options.model_path, type_of(options.model_path), context);
    if (built != ms::kSuccess) refuse(options, *context, built);
    for (const auto& tensor : model.GetInputs()) inputs.push_back(port_of(tensor));
    for (const auto& tensor : model.GetOutputs()) outputs.push_back(port_of(tensor));
  }

  static Port port_of(const ms::MSTensor& tensor) {
    return {tensor.Name(), dtype_of(tensor.DataType()), tensor.Shape()};
  }

  void run(const void* const* in, void* const* out) {
    std::vector<ms::MSTensor> tensors = model.GetInputs();
    for (size_t i = 0; i < tensors.size(); ++i) std::memcpy(tensors[i].MutableData(), in[i], tensors[i].DataSize());
    std::vector<ms::MSTensor> results;
    const ms::Status status = model.Predict(tensors, &results);
    if (status != ms::kSuccess) {
      throw std::runtime_error("MindSpore Lite stopped in the model (" + reason(status) + ")");
    }
    if (results.size() != outputs.size()) throw std::runtime_error("MindSpore Lite returned another number of outputs");
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].Shape() != outputs[i].shape) throw std::runtime_error("MindSpore Lite returned another shape");
      std::memcpy(out[i], results[i].Data().get(), results[i].DataSize());
    }
  }

  const std::vector<Port>& ports(mindseg_direction direction) const {
    return direction == MINDSEG_INPUT ? inputs : outputs;
  }

  ms::Model model;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
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
  const auto& port = model->ports(direction)[static_cast<size_t>(index)];
  info->name = port.name.c_str();
  info->dtype = port.shape.size() > MINDSEG_MAX_RANK ? MINDSEG_OTHER : port.dtype;
  info->rank = static_cast<int>(std::min<size_t>(port.shape.size(), MINDSEG_MAX_RANK));
  std::copy_n(port.shape.begin(), info->rank, info->shape);
}

// The API promises nothing about threads in one model.
int mindseg_slots(const mindseg_model*) { return 1; }

int mindseg_run(mindseg_model* model, int, const void* const* inputs, void* const* outputs, char* error,
                size_t error_size) {
  return mindseg::guarded(error, error_size, [&] { model->run(inputs, outputs); });
}

void mindseg_close(mindseg_model* model) { delete model; }
