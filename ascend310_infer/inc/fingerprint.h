// Compares contents by CRC-32 and size: safe against accidents, not against forgery. Python computes the same
// (zlib.crc32), so that both write and understand run.json.
#ifndef MINDSEG_FINGERPRINT_H_
#define MINDSEG_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace mindseg {

class Fingerprint {
 public:
  void add(const void* data, size_t bytes);
  std::string text() const;  // 8 hexadecimal digits, "-", the number of bytes

 private:
  uint32_t crc_ = 0xffffffff;
  uint64_t bytes_ = 0;
};

std::string fingerprint(const void* data, size_t bytes);

// Of a file's content, read in pieces. Throws Failure.
std::string fingerprint_of_file(const std::filesystem::path& path);

}  // namespace mindseg
#endif  // MINDSEG_FINGERPRINT_H_
