#include "image_list.h"

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>

#include "failure.h"

namespace fs = std::filesystem;

namespace mindseg {
namespace {

const std::set<std::string> kSuffixes = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"};
const std::string kByteOrderMark = "\xEF\xBB\xBF";

std::vector<std::string> names_in(const fs::path& list) {
  std::ifstream file(list);
  if (!file) throw Failure("--image_list=" + list.string() + ": cannot be read");
  std::vector<std::string> names;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (number == 1 && line.rfind(kByteOrderMark, 0) == 0) line.erase(0, kByteOrderMark.size());
    if (line.find('\0') != std::string::npos) {
      throw Failure("--image_list=" + list.string() + ":" + std::to_string(number) + ": is not text");
    }
    std::istringstream words(line);
    if ((words >> std::ws).eof()) continue;
    std::string name;
    if (!(words >> std::quoted(name)) || name.empty()) {
      throw Failure("--image_list=" + list.string() + ":" + std::to_string(number) +
                    ": a name in double quotes that is empty or does not end; write \"a name.jpg\"");
    }
    names.push_back(name);
  }
  return names;
}

std::vector<std::string> names_of_folder(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string suffix = entry->path().extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (kSuffixes.count(suffix)) names.push_back(entry->path().filename().string());
  }
  if (error) {
    throw Failure("--dataset_path=" + folder.string() + ": cannot be listed (" + error.message() + "); allow it");
  }
  std::sort(names.begin(), names.end());
  return names;
}

ImageFile image_file(const fs::path& dataset, const std::string& written) {
  fs::path name = fs::path(written).lexically_normal();
  const fs::path path = name.is_absolute() ? name : dataset / name;
  if (name.is_absolute()) {
    const fs::path inside = name.lexically_relative(fs::absolute(dataset).lexically_normal());
    if (!inside.empty() && *inside.begin() != "..") name = inside;
  }
  std::string stem = name.relative_path().replace_extension().generic_string();
  for (size_t at = 0; (at = stem.find('/', at)) != std::string::npos;) stem.replace(at, 1, "__");
  return {name.generic_string(), path, stem};
}

}  // namespace

std::vector<ImageFile> list_images(const fs::path& dataset, const fs::path& list) {
  const auto names = list.empty() ? names_of_folder(dataset) : names_in(list);
  if (names.empty()) {
    throw Failure(list.empty() ? "--dataset_path=" + dataset.string() + ": no image in it (jpg, png, bmp, tif, webp)"
                               : "--image_list=" + list.string() + ": names no image");
  }
  std::vector<ImageFile> images;
  std::map<std::string, std::string> taken;
  for (const auto& name : names) {
    ImageFile image = image_file(dataset, name);
    const auto [other, is_new] = taken.emplace(image.stem, image.name);
    if (!is_new && other->second == image.name) continue;  // listed twice: one result
    if (!is_new) {
      throw Failure("'" + other->second + "' and '" + image.name + "' would have the same result file " + image.stem +
                    "; rename one, or name them in two lists (--image_list), each with a --result_path");
    }
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace mindseg
