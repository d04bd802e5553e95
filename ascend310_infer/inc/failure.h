// How the program fails: a message that names value, place and way out, and an exit status.
#ifndef MINDSEG_FAILURE_H_
#define MINDSEG_FAILURE_H_

#include <stdexcept>
#include <string>

namespace mindseg {

// The process's exit status, the same for people and for scripts.
enum class Status {
  kDone = 0,
  kUnusable = 2,        // wrong use, or an unusable model, preprocess.json or folder
  kImagesFailed = 3,    // some images could not be read; the others are done
  kBackendRefused = 4,  // the device or its library is missing
};

// Ends the program.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message, Status status = Status::kUnusable)
      : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

// Ends the work on one image; the others continue.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mindseg
#endif  // MINDSEG_FAILURE_H_
