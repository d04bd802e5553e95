// Shared by the backends: exceptions become a message and a code at the C interface.
#ifndef MINDSEG_BACKEND_ERROR_H_
#define MINDSEG_BACKEND_ERROR_H_

#include <cstdio>
#include <exception>
#include <stdexcept>

#include "backend.h"

namespace mindseg {

// The device or the library cannot run models here.
class Refused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Runs `action`; an exception's text goes to `error`, its kind is returned.
template <typename Action>
int guarded(char* error, size_t error_size, Action action) {
  try {
    action();
    return MINDSEG_OK;
  } catch (const Refused& refused) {
    std::snprintf(error, error_size, "%s", refused.what());
    return MINDSEG_REFUSED;
  } catch (const std::exception& failure) {
    std::snprintf(error, error_size, "%s", failure.what());
    return MINDSEG_UNUSABLE;
  }
}

}  // namespace mindseg
#endif  // MINDSEG_BACKEND_ERROR_H_
