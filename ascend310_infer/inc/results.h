// The result folder: one small file an image, written whole or not at all, and an index at the end.
#ifndef MINDSEG_RESULTS_H_
#define MINDSEG_RESULTS_H_

#include <filesystem>
#include <string>
#include <vector>

#include "image_list.h"
#include "recipe.h"
#include "timing.h"

namespace mindseg {

// What became of one image.
struct Outcome {
  std::string error;  // empty where there is a result
};

class Results {
 public:
  // Makes the folder, or checks that what is in it came from the same model: run.json says so. Throws Failure.
  Results(const std::filesystem::path& folder, const Recipe& recipe, const std::filesystem::path& model);

  // Whether an earlier run left this image's result.
  bool has(const ImageFile& image) const;

  // Writes an image's result file. Safe in several threads.
  void store(const ImageFile& image, const std::string& content) const;

  // Writes index.json, last.
  void finish(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes, const Timing& timing) const;

 private:
  std::string relative(const ImageFile& image) const;

  std::filesystem::path folder_;
  const Recipe& recipe_;
};

// Writes to a temporary name beside `path`, then renames. Throws Failure.
void write_whole(const std::filesystem::path& path, const std::string& content);

// Makes a folder with its parents. Throws Failure.
void make_folder(const std::filesystem::path& path);

}  // namespace mindseg
#endif  // MINDSEG_RESULTS_H_
