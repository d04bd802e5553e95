// The command line.
#ifndef MINDSEG_OPTIONS_H_
#define MINDSEG_OPTIONS_H_

#include <filesystem>
#include <string>
#include <vector>

namespace mindseg {

struct Options {
  std::filesystem::path model_path;
  std::filesystem::path dataset_path;
  std::filesystem::path image_list;  // empty: every image of dataset_path
  std::filesystem::path result_path;
  std::filesystem::path preprocess;   // preprocess.json beside the model unless given
  std::filesystem::path dump_inputs;  // empty: network inputs are not kept
  std::string device_type = "Ascend";
  std::string backend;  // by the model's extension and device_type unless given
  int device_id = 0;
  int threads = 0;  // 0: one a core
  bool help = false;
};

std::string usage();

// Parses and checks everything that can be checked without opening the model. Throws Failure.
Options parse_options(const std::vector<std::string>& words);

// ", did you mean X?" where one of `names` is near to `word`, else nothing.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace mindseg
#endif  // MINDSEG_OPTIONS_H_
