// The result folder: one small file per image, written atomically, and an index at the end.  src/results/files.py
// documents the format, src/results/folder.py who may write into a folder: run.json says which model and
// preprocess.json it belongs to. fingerprints.txt identifies the content of each image: a second run keeps what is
// there, and stops where that came from another model or from another image of the same name.
#ifndef MINDSEG_RESULTS_H_
#define MINDSEG_RESULTS_H_

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image_list.h"
#include "options.h"
#include "preprocess_spec.h"
#include "timing.h"

namespace mindseg {

// What became of one image.
struct Outcome {
  std::string error;  // empty where there is a result
};

class Results {
 public:
  // Makes the folder, or checks that what is in it came from the same model file and preprocess.json. Throws Failure.
  Results(const Options& options, const PreprocessSpec& spec);

  // Whether an earlier run left the result of this image. Throws Failure where it left that of another one.
  bool has(const ImageFile& image) const;

  // Writes an image's result file; `fingerprint` is of the image file's content. Safe in several threads.
  void store(const ImageFile& image, const std::string& fingerprint, const std::string& content);

  // Writes detections.json and index.json, last. Where nothing was measured, it keeps the speed that it had.
  void finish(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes, const Timing& timing) const;

 private:
  void expect_own_folder(const Options& options) const;
  void read_fingerprints();
  std::string relative(const ImageFile& image) const;
  nlohmann::json gather_coco_results(const std::vector<ImageFile>& images, const std::vector<Outcome>& outcomes) const;

  std::filesystem::path folder_;
  const PreprocessSpec& spec_;
  std::map<std::string, std::string> fingerprints_;  // of the images of earlier runs, by stem
  std::ofstream journal_;                            // fingerprints.txt
  std::mutex mutex_;                                 // of journal_
};

// Writes to a temporary name beside `path`, then renames. Throws Failure.
void write_whole(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);
void write_whole(const std::filesystem::path& path, const std::string& content);

// Makes a folder with its parents. Throws Failure.
void make_folder(const std::filesystem::path& path);

}  // namespace mindseg
#endif  // MINDSEG_RESULTS_H_
