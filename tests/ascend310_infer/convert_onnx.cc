// converter_lite of two arguments, MODEL.onnx and the output without its suffix, on Lite's own converter library.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "include/api/status.h"
#include "include/api/types.h"
#include "include/registry/converter_context.h"

namespace mindspore {

// Of include/converter.h in Lite's package; the wheel has the library without this header.
class Converter {
 public:
  Converter();
  ~Converter() = default;
  void SetSaveType(ModelType type);
  Status Convert(converter::FmkType from, const std::vector<char>& model, const std::vector<char>& output,
                 const std::vector<char>& weights);

 private:
  struct Data;
  std::shared_ptr<Data> data_;
};

}  // namespace mindspore

int main(int, char** words) {
  const auto chars = [](const std::string& text) { return std::vector<char>(text.begin(), text.end()); };
  mindspore::Converter converter;
  converter.SetSaveType(mindspore::kMindIR);
  const auto status = converter.Convert(mindspore::converter::kFmkTypeOnnx, chars(words[1]), chars(words[2]), {});
  if (status == mindspore::kSuccess) return 0;
  std::fprintf(stderr, "%s\n", status.GetErrDescription().c_str());
  return 1;
}
