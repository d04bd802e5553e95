// How the program fails: a message that names value, place and way out, and an exit status.
#ifndef MINDSEG_FAILURE_H_
#define MINDSEG_FAILURE_H_

#include <stdexcept>
#include <string>

namespace mindseg {

// The process's exit status, the same for people and for scripts.
enum class Status {
  kDone = 0,
  kUnusable = 2,        // wrong use, or a model, recipe or folder that cannot be worked with
  kImagesFailed = 3,    // some images could not be read; the others are done
  kBackendRefused = 4,  // what should run the model is not here
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

// Ends the work on one image; the rest goes on.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mindseg
#endif  // MINDSEG_FAILURE_H_
