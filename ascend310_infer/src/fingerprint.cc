#include "fingerprint.h"

#include <fstream>
#include <iomanip>
#include <sstream>
#include <vector>

#include "failure.h"

namespace mindseg {

void Fingerprint::add(const void* data, size_t bytes) {
  const auto* values = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) hash_ = (hash_ ^ values[i]) * 0x100000001b3;
  bytes_ += bytes;
}

std::string Fingerprint::text() const {
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(16) << hash_ << std::dec << "-" << bytes_;
  return text.str();
}

std::string fingerprint(const void* data, size_t bytes) {
  Fingerprint result;
  result.add(data, bytes);
  return result.text();
}

std::string fingerprint_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(1 << 20);
  Fingerprint result;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    result.add(piece.data(), static_cast<size_t>(file.gcount()));
  }
  if (!file.eof()) throw Failure(path.string() + ": cannot be read to its end");
  return result.text();
}

}  // namespace mindseg
