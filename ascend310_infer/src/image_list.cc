#include "image_list.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>

#include "failure.h"

namespace fs = std::filesystem;

namespace mindseg {
namespace {

// Of pictures. Those that OpenCV does not read fail one by one, with their names.
const std::set<std::string> kSuffixes = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".heic", ".heif",
    ".hif", ".avif", ".jp2",  ".ppm",  ".pgm", ".pbm", ".pnm", ".arw", ".cr2",  ".cr3",  ".crw", ".dng",  ".erf",
    ".nef", ".nrw",  ".orf",  ".pef",  ".raf", ".raw", ".rw2", ".srw", ".jxl",  ".psd",  ".psb", ".xcf",  ".svg",
    ".eps", ".ai",   ".exr",  ".hdr",  ".tga", ".ico", ".icns", ".wmf", ".emf", ".dcm"};
const std::string kByteOrderMark = "\xEF\xBB\xBF";

struct Line {
  std::string name;
  std::optional<int64_t> id;
};

std::optional<int64_t> whole_number(const std::string& word) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::vector<Line> lines_of(const fs::path& list) {
  std::ifstream file(list);
  if (!file) throw Failure("--image_list=" + list.string() + ": cannot be read");
  std::vector<Line> found;
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
    std::string behind;
    words >> behind;
    found.push_back({name, whole_number(behind)});
  }
  return found;
}

std::vector<Line> names_of_folder(const fs::path& folder) {
  std::vector<Line> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string suffix = entry->path().extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (kSuffixes.count(suffix)) found.push_back({entry->path().filename().string(), std::nullopt});
  }
  if (error) {
    throw Failure("--dataset_path=" + folder.string() + ": cannot be listed (" + error.message() +
                  "); grant read access");
  }
  std::sort(found.begin(), found.end(), [](const Line& a, const Line& b) { return a.name < b.name; });
  return found;
}

ImageFile image_file(const fs::path& dataset, const Line& line) {
  fs::path name = fs::path(line.name).lexically_normal();
  const fs::path path = name.is_absolute() ? name : dataset / name;
  if (name.is_absolute()) {
    const fs::path inside = name.lexically_relative(fs::absolute(dataset).lexically_normal());
    if (!inside.empty() && *inside.begin() != "..") name = inside;
  }
  return {name.generic_string(), path, {}, line.id};
}

std::string flat(const fs::path& path) {
  std::string text = path.relative_path().generic_string();
  for (size_t at = 0; (at = text.find('/', at)) != std::string::npos;) text.replace(at, 1, "__");
  return text;
}

}  // namespace

std::vector<std::string> result_names(const std::vector<std::string>& names) {
  const auto plain = [](const std::string& name) { return flat(fs::path(name).replace_extension()); };
  std::map<std::string, int> uses;
  for (const auto& name : names) ++uses[plain(name)];
  std::set<std::string> taken;
  std::vector<std::string> result;
  for (const auto& name : names) {
    const std::string wanted = uses[plain(name)] == 1 ? plain(name) : flat(name);
    std::string free = wanted;
    for (int number = 2; !taken.insert(free).second; ++number) free = wanted + "_" + std::to_string(number);
    result.push_back(free);
  }
  return result;
}

std::vector<ImageFile> list_images(const fs::path& dataset, const fs::path& list) {
  const auto lines = list.empty() ? names_of_folder(dataset) : lines_of(list);
  if (lines.empty()) {
    throw Failure(list.empty() ? "--dataset_path=" + dataset.string() + ": contains no image (jpg, png, bmp, tif, webp)"
                               : "--image_list=" + list.string() + ": names no image");
  }
  std::vector<ImageFile> images;
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const auto& line : lines) {
    ImageFile image = image_file(dataset, line);
    if (!seen.insert(image.name).second) continue;  // listed twice: one result
    names.push_back(image.name);
    images.push_back(std::move(image));
  }
  const auto stems = result_names(names);
  for (size_t i = 0; i < images.size(); ++i) images[i].stem = stems[i];
  return images;
}

}  // namespace mindseg
