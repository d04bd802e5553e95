#include "fingerprint.h"

#include <array>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <vector>

#include "failure.h"

namespace mindseg {
namespace {

// tables()[k][b]: the remainder of byte b with k zero bytes behind it, for the reflected polynomial 0xEDB88320.
const std::array<std::array<uint32_t, 256>, 8>& tables() {
  static const auto result = [] {
    std::array<std::array<uint32_t, 256>, 8> t{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t rest = byte;
      for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) ? 0xEDB88320U : 0U);
      t[0][byte] = rest;
    }
    for (size_t k = 1; k < 8; ++k) {
      for (size_t byte = 0; byte < 256; ++byte) t[k][byte] = (t[k - 1][byte] >> 8) ^ t[0][t[k - 1][byte] & 0xff];
    }
    return t;
  }();
  return result;
}

}  // namespace

// Eight bytes a step (slicing by 8).
void Fingerprint::add(const void* data, size_t bytes) {
  const auto& t = tables();
  const auto* values = static_cast<const unsigned char*>(data);
  size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    const auto* v = values + i;
    crc_ = t[7][(crc_ ^ v[0]) & 0xff] ^ t[6][((crc_ >> 8) ^ v[1]) & 0xff] ^ t[5][((crc_ >> 16) ^ v[2]) & 0xff] ^
           t[4][(crc_ >> 24) ^ v[3]] ^ t[3][v[4]] ^ t[2][v[5]] ^ t[1][v[6]] ^ t[0][v[7]];
  }
  for (; i < bytes; ++i) crc_ = (crc_ >> 8) ^ t[0][(crc_ ^ values[i]) & 0xff];
  bytes_ += bytes;
}

std::string Fingerprint::text() const {
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(8) << ~crc_ << std::dec << "-" << bytes_;
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
