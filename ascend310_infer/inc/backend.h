// The interface between the program and its backends, which run models: a C interface, one shared library per backend.
//
// C, because the libraries on both sides are built with different C++ standard library ABIs (Debian's OpenCV with the
// C++11 one, MindSpore without): they cannot share a binary, but they can share this.
#ifndef MINDSEG_BACKEND_H_
#define MINDSEG_BACKEND_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MINDSEG_BACKEND_VERSION 2
#define MINDSEG_MAX_RANK 8

// Results of the calls. The two failures are the program's exit statuses of the same meaning.
enum { MINDSEG_OK = 0, MINDSEG_UNUSABLE = 2, MINDSEG_REFUSED = 4 };

typedef enum {
  MINDSEG_FLOAT32,
  MINDSEG_FLOAT16,
  MINDSEG_INT32,
  MINDSEG_INT64,
  MINDSEG_UINT8,
  MINDSEG_BOOL,
  MINDSEG_OTHER
} mindseg_dtype;

typedef enum { MINDSEG_INPUT, MINDSEG_OUTPUT } mindseg_direction;

typedef struct {
  const char* name;  // lives as long as the model
  mindseg_dtype dtype;
  int rank;
  int64_t shape[MINDSEG_MAX_RANK];  // -1 where it is not fixed
} mindseg_tensor_info;

typedef struct {
  const char* model_path;
  const char* device_type;  // "Ascend" or "CPU"
  int device_id;
  int threads;        // of a CPU
  int parallel_runs;  // slots that are asked for; 0: as many as take the least time an image
  int half_suffices;  // 1: the results are float16; 0: float32 is kept wherever the chip has it
} mindseg_options;

typedef struct mindseg_model mindseg_model;

// MINDSEG_BACKEND_VERSION that the library was built with.
int mindseg_version(void);

// Loads and compiles a model. On failure `error` says why and what to do, and `*model` is null.
int mindseg_open(const mindseg_options* options, mindseg_model** model, char* error, size_t error_size);

int mindseg_count(const mindseg_model* model, mindseg_direction direction);
void mindseg_info(const mindseg_model* model, mindseg_direction direction, int index, mindseg_tensor_info* info);

// How many runs may be under way at once: slots 0 .. n-1, one thread a slot.
int mindseg_slots(const mindseg_model* model);

// Runs the model: `inputs` and `outputs` are the caller's contiguous buffers in the model's order.
int mindseg_run(mindseg_model* model, int slot, const void* const* inputs, void* const* outputs, char* error,
                size_t error_size);

void mindseg_close(mindseg_model* model);

#ifdef __cplusplus
}
#endif
#endif  // MINDSEG_BACKEND_H_
