// Which images are worked on, and what their results are called.
#ifndef MINDSEG_IMAGE_LIST_H_
#define MINDSEG_IMAGE_LIST_H_

#include <filesystem>
#include <string>
#include <vector>

namespace mindseg {

struct ImageFile {
  std::string name;            // relative to the data set where it lies in it: what the results call the image
  std::filesystem::path path;  // where it is
  std::string stem;            // of its result file: the name without suffix, folders joined by "__"
};

// Images of a list file (the first word of each line, "quoted" where it has blanks), or without one every image file of
// the folder, by name. Throws Failure for an unusable list, no images, or two of one result name.
std::vector<ImageFile> list_images(const std::filesystem::path& dataset, const std::filesystem::path& list);

}  // namespace mindseg
#endif  // MINDSEG_IMAGE_LIST_H_
