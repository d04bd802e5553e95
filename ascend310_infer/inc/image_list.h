// Which images are worked on, and what their results are called.
#ifndef MINDSEG_IMAGE_LIST_H_
#define MINDSEG_IMAGE_LIST_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mindseg {

struct ImageFile {
  std::string name;            // in the results: relative to the data set if the image is in it
  std::filesystem::path path;  // where it is
  std::string stem;            // NAME of its result files, see result_names
  std::optional<int64_t> id;   // COCO's, where the list says it
};

// NAME of each image's result files, all different: the image's name with "/" as "__" and without suffix. Images that
// would share it keep their suffixes; what is then still shared gets _2, _3 and so on. The same as `result_names` of
// src/results/files.py.
std::vector<std::string> result_names(const std::vector<std::string>& names);

// Images of a list file, or without one every picture in the folder, by name. The first word of a line of the list is
// the image ("quoted" where it has blanks), a whole number behind it is its COCO id. Throws Failure for an unusable
// list or no images.
std::vector<ImageFile> list_images(const std::filesystem::path& dataset, const std::filesystem::path& list);

}  // namespace mindseg
#endif  // MINDSEG_IMAGE_LIST_H_
